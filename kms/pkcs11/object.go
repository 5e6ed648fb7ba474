//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-6133abe0/rekey/kms"
)

// object is a KEK in the token, as it stood when it was looked at. Handles are
// not kept: they are the session's, and a token may use one again for another
// object.
type object struct {
	handle p11.ObjectHandle
	d      kms.Description
	name   string // what the label is without the date
	due    time.Time
	leaves bool // extractable or not sensitive
}

// on calls do with a KEK as it stands, or with why it could not be looked at.
func (p *Provider) on(ctx context.Context, kek string, do func(p11.SessionHandle, object, error) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	id, err := parseKEK(p.o.Token, kek)
	if err != nil {
		return err
	}
	return classify(p.pool.with(ctx, func(s p11.SessionHandle) error {
		o, err := p.look(s, id)
		return do(s, o, err)
	}))
}

// look finds a KEK, and destroys it if that is due. An error beside an object
// says that it could not be destroyed.
func (p *Provider) look(s p11.SessionHandle, id []byte) (object, error) {
	h, err := p.find(s, id)
	if err != nil {
		return object{}, err
	}
	o, err := p.read(s, h)
	if err != nil {
		return object{}, err
	}
	o.d.KEK = spellKEK(p.o.Token, id)
	if o.d.State != kms.KEKPending || p.o.Clock().Before(o.due) {
		return o, nil
	}
	err = p.lib.DestroyObject(s, h)
	if err != nil && code(err) != p11.CKR_OBJECT_HANDLE_INVALID { // another was faster
		return o, fmt.Errorf("destroy: %w", err)
	}
	o.d.State = kms.KEKDestroyed
	return o, nil
}

// find wants exactly one: nothing in PKCS#11 keeps two keys from having the same
// CKA_ID.
func (p *Provider) find(s p11.SessionHandle, id []byte) (p11.ObjectHandle, error) {
	found, err := p.lib.Find(s, append(aesKeys(), p11.NewAttribute(p11.CKA_ID, id)), 2)
	switch {
	case err != nil:
		return 0, fmt.Errorf("find key: %w", err)
	case len(found) == 0:
		return 0, fmt.Errorf("%w: token %q has no AES key with CKA_ID %s", kms.ErrNotFound, p.o.Token, hex.EncodeToString(id))
	case len(found) > 1:
		return 0, fmt.Errorf("%w: token %q has several AES keys with CKA_ID %s", kms.ErrDenied, p.o.Token, hex.EncodeToString(id))
	}
	return found[0], nil
}

// aesKeys is the template of all KEKs.
func aesKeys() []*p11.Attribute {
	return []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_AES),
		p11.NewAttribute(p11.CKA_TOKEN, true),
	}
}

// read asks for what look needs. A key that may not both encrypt and decrypt is
// disabled.
func (p *Provider) read(s p11.SessionHandle, h p11.ObjectHandle) (object, error) {
	got, err := p.lib.GetAttributeValue(s, h, []*p11.Attribute{
		p11.NewAttribute(p11.CKA_LABEL, nil),
		p11.NewAttribute(p11.CKA_ENCRYPT, nil),
		p11.NewAttribute(p11.CKA_DECRYPT, nil),
		p11.NewAttribute(p11.CKA_EXTRACTABLE, nil),
		p11.NewAttribute(p11.CKA_SENSITIVE, nil),
	})
	if err != nil {
		return object{}, fmt.Errorf("read attributes: %w", err)
	}
	o := object{handle: h, leaves: isTrue(got[3]) || !isTrue(got[4])}
	o.name, o.due = parseLabel(string(got[0].Value))
	o.d.Name = shown(o.name)
	encrypts, decrypts := isTrue(got[1]), isTrue(got[2])
	switch {
	case encrypts && decrypts:
		o.d.State = kms.KEKEnabled
	case !encrypts && !decrypts && !o.due.IsZero():
		o.d.State, o.d.Destroys = kms.KEKPending, o.due
	default:
		o.d.State = kms.KEKDisabled
	}
	return o, nil
}

func isTrue(a *p11.Attribute) bool { return len(a.Value) == 1 && a.Value[0] != 0 }
