//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-6133abe0/rekey/kms"
)

// maxKeys bounds the AES keys of a token that Create looks through for a name.
const maxKeys = 10_000

// Create makes an AES-256 key that cannot leave the token, and tries it out. A
// token keeps nobody from giving a label twice, so Create looks for the name
// before and after, and destroys its own key if there is another: of several
// that are after one name at a time, one may get it, or none.
func (p *Provider) Create(ctx context.Context, name string) (string, error) {
	if err := kms.CheckName(name); err != nil {
		return "", fmt.Errorf("create KEK: %w", err)
	}
	id := make([]byte, newID)
	_, _ = rand.Read(id) // never fails: it crashes the program instead
	err := p.pool.with(ctx, func(s p11.SessionHandle) error { return p.free(s, name, nil) })
	if err == nil {
		err = p.pool.once(ctx, func(s p11.SessionHandle) error { return p.generate(s, name, id) })
		if err != nil {
			err = p.undo(context.WithoutCancel(ctx), id, err)
		}
	}
	if err != nil {
		return "", fmt.Errorf("create KEK %s: %w", name, classify(err))
	}
	return spellKEK(p.o.Token, id), nil
}

// free returns nil if no KEK but own has the name, one that is to be destroyed
// included.
func (p *Provider) free(s p11.SessionHandle, name string, own []byte) error {
	all, err := p.lib.Find(s, aesKeys(), maxKeys+1)
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	if len(all) > maxKeys {
		return fmt.Errorf("%w: token has more than %d AES keys", kms.ErrDenied, maxKeys)
	}
	for _, h := range all {
		got, err := p.lib.GetAttributeValue(s, h, []*p11.Attribute{
			p11.NewAttribute(p11.CKA_LABEL, nil), p11.NewAttribute(p11.CKA_ID, nil),
		})
		if code(err) == p11.CKR_OBJECT_HANDLE_INVALID { // destroyed meanwhile
			continue
		}
		if err != nil {
			return fmt.Errorf("read attributes: %w", err)
		}
		if label, _ := parseLabel(string(got[0].Value)); label == name && (own == nil || !bytes.Equal(got[1].Value, own)) {
			return fmt.Errorf("%w: %s", kms.ErrExists, name)
		}
	}
	return nil
}

// generate makes the key. On an error it may be there.
func (p *Provider) generate(s p11.SessionHandle, name string, id []byte) error {
	h, err := p.lib.Generate(s, template(name, id))
	if err != nil {
		return fmt.Errorf("generate key: %w", err)
	}
	if err := p.kept(s, h); err != nil {
		return err
	}
	if err := p.authenticates(s, h); err != nil {
		return err
	}
	return p.free(s, name, id)
}

// undo destroys what generate may have made; why is its error. Its session may be
// gone, so this is done with another.
func (p *Provider) undo(ctx context.Context, id []byte, why error) error {
	err := p.pool.with(ctx, func(s p11.SessionHandle) error {
		h, err := p.find(s, id)
		if err == nil {
			err = p.lib.DestroyObject(s, h)
		}
		return err
	})
	if err != nil && !errors.Is(err, kms.ErrNotFound) { // as text alone: the class is why's
		return fmt.Errorf("%w; %s may be left in the token: %s", why, spellKEK(p.o.Token, id), err.Error())
	}
	return why
}

// template says what a new KEK may do, and that it stays. One that could wrap as
// well as decrypt would give away the token's other keys.
func template(name string, id []byte) []*p11.Attribute {
	set := append(aesKeys(),
		p11.NewAttribute(p11.CKA_VALUE_LEN, 32), // bytes
		p11.NewAttribute(p11.CKA_LABEL, name),
		p11.NewAttribute(p11.CKA_ID, id),
	)
	for _, use := range []uint{p11.CKA_PRIVATE, p11.CKA_SENSITIVE, p11.CKA_MODIFIABLE, p11.CKA_ENCRYPT, p11.CKA_DECRYPT} {
		set = append(set, p11.NewAttribute(use, true))
	}
	for _, use := range []uint{p11.CKA_EXTRACTABLE, p11.CKA_WRAP, p11.CKA_UNWRAP, p11.CKA_SIGN, p11.CKA_VERIFY, p11.CKA_DERIVE} {
		set = append(set, p11.NewAttribute(use, false))
	}
	return set
}

// kept asks the token whether it made what the template says: in the token, and
// never to leave it.
func (p *Provider) kept(s p11.SessionHandle, h p11.ObjectHandle) error {
	got, err := p.lib.GetAttributeValue(s, h, []*p11.Attribute{
		p11.NewAttribute(p11.CKA_LOCAL, nil),
		p11.NewAttribute(p11.CKA_ALWAYS_SENSITIVE, nil),
		p11.NewAttribute(p11.CKA_NEVER_EXTRACTABLE, nil),
		p11.NewAttribute(p11.CKA_EXTRACTABLE, nil),
	})
	if err != nil {
		return fmt.Errorf("read attributes: %w", err)
	}
	if !isTrue(got[0]) || !isTrue(got[1]) || !isTrue(got[2]) || isTrue(got[3]) {
		return fmt.Errorf("%w: token made a key that may leave it", kms.ErrDenied)
	}
	return nil
}
