//go:build pkcs11 && cgo

package pkcs11

import (
	"errors"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// makeKey makes an AES key by hand: what is set wins over the template of KEKs.
func makeKey(t *testing.T, c *p11.Ctx, s p11.SessionHandle, id []byte, set map[uint]bool) p11.ObjectHandle {
	t.Helper()
	all := template("by-hand", id)
	for _, a := range all {
		if v, ok := set[a.Type]; ok {
			a.Value = p11.NewAttribute(a.Type, v).Value
		}
	}
	h, err := c.GenerateKey(s, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_GEN, nil)}, all)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestKEKStaysInTheToken tries every way out that PKCS#11 has.
func TestKEKStaysInTheToken(t *testing.T) {
	p := newBench(t).open(t)
	kek := mustCreate(t, p, "stays")
	raw(t, p, kek, func(c *p11.Ctx, s p11.SessionHandle, h p11.ObjectHandle) {
		wrap := []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_WRAP, nil)}
		wrapper := makeKey(t, c, s, []byte{1}, map[uint]bool{p11.CKA_WRAP: true})
		loose := makeKey(t, c, s, []byte{2}, map[uint]bool{p11.CKA_EXTRACTABLE: true, p11.CKA_SENSITIVE: false})
		for _, c := range []struct {
			name string
			try  func() error
			want uint
		}{
			{"read CKA_VALUE", func() error {
				_, err := c.GetAttributeValue(s, h, []*p11.Attribute{p11.NewAttribute(p11.CKA_VALUE, nil)})
				return err
			}, p11.CKR_ATTRIBUTE_SENSITIVE},
			{"wrap it", func() error { _, err := c.WrapKey(s, wrap, wrapper, h); return err }, p11.CKR_KEY_UNEXTRACTABLE},
			{"make it extractable", func() error {
				return c.SetAttributeValue(s, h, []*p11.Attribute{p11.NewAttribute(p11.CKA_EXTRACTABLE, true)})
			}, p11.CKR_ATTRIBUTE_READ_ONLY},
			{"make it not sensitive", func() error {
				return c.SetAttributeValue(s, h, []*p11.Attribute{p11.NewAttribute(p11.CKA_SENSITIVE, false)})
			}, p11.CKR_ATTRIBUTE_READ_ONLY},
			{"copy it as extractable", func() error {
				_, err := c.CopyObject(s, h, []*p11.Attribute{p11.NewAttribute(p11.CKA_EXTRACTABLE, true)})
				return err
			}, p11.CKR_ATTRIBUTE_READ_ONLY},
			{"wrap another key with it", func() error { _, err := c.WrapKey(s, wrap, h, loose); return err }, p11.CKR_KEY_FUNCTION_NOT_PERMITTED},
		} {
			if err := c.try(); code(err) != c.want {
				t.Errorf("%s: %v, want %v", c.name, err, p11.Error(c.want))
			}
		}
		// The same ways lead out for a key that may leave: they are ways.
		if _, err := c.WrapKey(s, wrap, wrapper, loose); err != nil {
			t.Errorf("wrap a key that may leave: %v", err)
		}
		if got, err := c.GetAttributeValue(s, loose, []*p11.Attribute{p11.NewAttribute(p11.CKA_VALUE, nil)}); err != nil || len(got[0].Value) != 32 {
			t.Errorf("read a key that may leave: %v", err)
		}
	})
}

// TestKEKsMadeByHand: one that may leave the token wraps nothing, and two with one
// id are none.
func TestKEKsMadeByHand(t *testing.T) {
	p := newBench(t).open(t)
	raw(t, p, mustCreate(t, p, "any"), func(c *p11.Ctx, s p11.SessionHandle, _ p11.ObjectHandle) {
		makeKey(t, c, s, []byte{1}, nil)
		makeKey(t, c, s, []byte{2}, map[uint]bool{p11.CKA_EXTRACTABLE: true})
		makeKey(t, c, s, []byte{3}, map[uint]bool{p11.CKA_SENSITIVE: false})
		makeKey(t, c, s, []byte{4}, nil)
		makeKey(t, c, s, []byte{4}, nil)
		makeKey(t, c, s, []byte{5}, map[uint]bool{p11.CKA_TOKEN: false}) // gone with its session
		makeKey(t, c, s, []byte{6}, map[uint]bool{p11.CKA_ENCRYPT: false})
	})
	for id, want := range map[string]error{
		"01": nil, "02": kms.ErrDenied, "03": kms.ErrDenied, "04": kms.ErrDenied, "05": kms.ErrNotFound, "06": kms.ErrDisabled,
	} {
		kek := spellKEK(p.o.Token, nil) + id
		if _, err := p.Wrap(t.Context(), kek, key.NewKID(), key.NewContentKey()); !errors.Is(err, want) {
			t.Errorf("Wrap under %s: %v, want %v", kek, err, want)
		}
	}
}
