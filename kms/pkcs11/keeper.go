//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"fmt"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-6133abe0/rekey/kms"
)

// Describe also carries out a destruction that is due. The token knows no time
// of creation.
func (p *Provider) Describe(ctx context.Context, kek string) (kms.Description, error) {
	var d kms.Description
	err := p.on(ctx, kek, func(_ p11.SessionHandle, o object, err error) error {
		d = o.d
		return err
	})
	if err != nil {
		return kms.Description{}, fmt.Errorf("describe KEK: %w", err)
	}
	return d, nil
}

// Disable takes the KEK its uses, and waits until the token was seen to refuse
// them. One that is to be destroyed stays so.
func (p *Provider) Disable(ctx context.Context, kek string) error {
	_, err := p.change(ctx, kek, func(object) []*p11.Attribute { return off() }, p.proveOff)
	if err != nil {
		return fmt.Errorf("disable KEK: %w", err)
	}
	return nil
}

// Enable gives the KEK its uses back and takes the date of its destruction away,
// and waits until a use works.
func (p *Provider) Enable(ctx context.Context, kek string) error {
	_, err := p.change(ctx, kek, func(o object) []*p11.Attribute {
		var set []*p11.Attribute
		if o.d.State != kms.KEKEnabled {
			set = append(set, p11.NewAttribute(p11.CKA_ENCRYPT, true), p11.NewAttribute(p11.CKA_DECRYPT, true))
		}
		if !o.due.IsZero() {
			set = append(set, p11.NewAttribute(p11.CKA_LABEL, o.name))
		}
		return set
	}, p.proveOn)
	if err != nil {
		return fmt.Errorf("enable KEK: %w", err)
	}
	return nil
}

// ScheduleDestruction is Disable, and writes the date into the label with the
// same call. One that is to be destroyed already keeps its date.
func (p *Provider) ScheduleDestruction(ctx context.Context, kek string) (time.Time, error) {
	due := p.o.Clock().UTC().Add(p.o.DestroyAfter).Truncate(time.Second).Add(time.Second)
	was, err := p.change(ctx, kek, func(o object) []*p11.Attribute {
		if o.d.State == kms.KEKPending {
			return nil
		}
		return append(off(), p11.NewAttribute(p11.CKA_LABEL, spellDoomed(due, o.name)))
	}, p.proveOff)
	if err != nil {
		return time.Time{}, fmt.Errorf("schedule destruction of KEK: %w", err)
	}
	if was.d.State == kms.KEKPending {
		due = was.due
	}
	return due, nil
}

// off is what a KEK that is switched off may do.
func off() []*p11.Attribute {
	var set []*p11.Attribute
	for _, use := range []uint{p11.CKA_ENCRYPT, p11.CKA_DECRYPT, p11.CKA_WRAP, p11.CKA_UNWRAP} {
		set = append(set, p11.NewAttribute(use, false))
	}
	return set
}

// change sets attributes by how the KEK stands, and waits for the proof. It
// returns how it stood. One that is destroyed is kms.ErrDisabled.
func (p *Provider) change(ctx context.Context, kek string, to func(object) []*p11.Attribute, prove func(context.Context, []byte) error) (was object, err error) {
	err = p.on(ctx, kek, func(s p11.SessionHandle, o object, err error) error {
		if err != nil {
			return err
		}
		if o.d.State == kms.KEKDestroyed {
			return fmt.Errorf("%w: %s is destroyed", kms.ErrDisabled, kek)
		}
		was = o
		set := to(o)
		if len(set) == 0 {
			return nil
		}
		if err := p.lib.SetAttributeValue(s, o.handle, set); err != nil {
			return fmt.Errorf("set attributes: %w", err)
		}
		return nil
	})
	if err != nil {
		return object{}, err
	}
	id, err := parseKEK(p.o.Token, kek)
	if err != nil {
		return object{}, err
	}
	if err := classify(prove(ctx, id)); err != nil {
		return object{}, fmt.Errorf("%s: %w", kek, err)
	}
	return was, nil
}
