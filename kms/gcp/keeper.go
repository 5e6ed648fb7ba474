package gcp

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/seed-6133abe0/rekey/kms"
)

// Create makes a CryptoKey called name in the key ring, without rotation, and
// waits until its version 1 is enabled. A key ring that is not there is
// kms.ErrNotFound. Google keeps the names of destroyed keys.
func (p *Provider) Create(ctx context.Context, name string) (string, error) {
	if err := kms.CheckName(name); err != nil {
		return "", fmt.Errorf("create KEK: %w", err)
	}
	v := version{ring: p.o.KeyRing, key: name, number: "1"}
	made, err := call(ctx, p, func(ctx context.Context, r *kmspb.CreateCryptoKeyRequest) (*kmspb.CryptoKey, error) {
		return p.client.CreateCryptoKey(ctx, r)
	}, &kmspb.CreateCryptoKeyRequest{
		Parent:      p.o.KeyRing,
		CryptoKeyId: name,
		CryptoKey: &kmspb.CryptoKey{
			Purpose: kmspb.CryptoKey_ENCRYPT_DECRYPT,
			VersionTemplate: &kmspb.CryptoKeyVersionTemplate{
				Algorithm:       kmspb.CryptoKeyVersion_GOOGLE_SYMMETRIC_ENCRYPTION,
				ProtectionLevel: p.protection(),
			},
			DestroyScheduledDuration: durationpb.New(p.o.DestroyAfter),
		},
	}, kms.ErrDenied)
	err = settled(err, kms.ErrDenied) // a policy of the organisation
	if err == nil && (made.GetPrimary().GetName() != v.name() || made.GetPrimary().GetState() != kmspb.CryptoKeyVersion_ENABLED) {
		err = p.generated(ctx, v)
	}
	if err != nil {
		return "", fmt.Errorf("create KEK %s: %w", v.kek(), err)
	}
	return v.kek(), nil
}

// generated waits until a new version is enabled.
func (p *Provider) generated(ctx context.Context, v version) error {
	return p.poll(ctx, "made, but not enabled yet", func(ctx context.Context) (bool, error) {
		got, err := p.get(ctx, v)
		if err != nil {
			return false, err
		}
		if got.GetState() == kmspb.CryptoKeyVersion_GENERATION_FAILED {
			return false, fmt.Errorf("%w: key material was not made: %.300q", kms.ErrDenied, got.GetGenerationFailureReason())
		}
		return got.GetState() == kmspb.CryptoKeyVersion_ENABLED, nil
	})
}

// Describe says how the version stands. Name is the CryptoKey's.
func (p *Provider) Describe(ctx context.Context, kek string) (kms.Description, error) {
	v, err := parseKEK(kek)
	if err != nil {
		return kms.Description{}, fmt.Errorf("describe KEK: %w", err)
	}
	got, err := p.get(ctx, v)
	if err != nil {
		return kms.Description{}, fmt.Errorf("describe KEK %s: %w", kek, err)
	}
	d := kms.Description{KEK: kek, Name: v.key, State: state(got)}
	if t := got.GetCreateTime(); t != nil {
		d.Created = t.AsTime()
	}
	if t := got.GetDestroyTime(); t != nil && d.State == kms.KEKPending {
		d.Destroys = t.AsTime()
	}
	if t := got.GetDestroyEventTime(); t != nil && d.State == kms.KEKDestroyed {
		d.Destroys = t.AsTime()
	}
	return d, nil
}

// Disable switches the version off and waits until that is seen; see the package
// comment. One that is to be destroyed stays so. One that is destroyed is
// kms.ErrDisabled.
func (p *Provider) Disable(ctx context.Context, kek string) error {
	v, err := parseKEK(kek)
	if err != nil {
		return fmt.Errorf("disable KEK: %w", err)
	}
	if err := p.disable(ctx, v); err != nil {
		return fmt.Errorf("disable KEK %s: %w", kek, p.changeError(ctx, v, err))
	}
	return nil
}

func (p *Provider) disable(ctx context.Context, v version) error {
	got, err := p.alive(ctx, v)
	if err != nil {
		return err
	}
	probe, err := p.probe(ctx, v) // while it still can be made
	if err != nil {
		return err
	}
	if state(got) == kms.KEKEnabled {
		if err := p.update(ctx, v, kmspb.CryptoKeyVersion_DISABLED); err != nil {
			return err
		}
	}
	return p.proveOff(ctx, v, probe)
}

// Enable switches the version on, calling back its destruction first, and waits
// until a use works. One that is destroyed is kms.ErrDisabled.
func (p *Provider) Enable(ctx context.Context, kek string) error {
	v, err := parseKEK(kek)
	if err != nil {
		return fmt.Errorf("enable KEK: %w", err)
	}
	if err := p.enable(ctx, v); err != nil {
		return fmt.Errorf("enable KEK %s: %w", kek, p.changeError(ctx, v, err))
	}
	return nil
}

func (p *Provider) enable(ctx context.Context, v version) error {
	got, err := p.alive(ctx, v)
	if err != nil {
		return err
	}
	if state(got) == kms.KEKPending {
		if err := p.restore(ctx, v); err != nil { // leaves it disabled
			return err
		}
	}
	if state(got) != kms.KEKEnabled {
		if err := p.update(ctx, v, kmspb.CryptoKeyVersion_ENABLED); err != nil {
			return err
		}
	}
	return p.proveOn(ctx, v)
}

// ScheduleDestruction switches the version off and has it destroyed after the
// time that was set when it was made; one that is to be destroyed already keeps
// its date. It disables first, as constraints/cloudkms.disableBeforeDestroy
// wants: a caller who may disable but not destroy leaves it disabled.
func (p *Provider) ScheduleDestruction(ctx context.Context, kek string) (time.Time, error) {
	v, err := parseKEK(kek)
	if err != nil {
		return time.Time{}, fmt.Errorf("schedule destruction of KEK: %w", err)
	}
	due, err := p.schedule(ctx, v)
	if err != nil {
		return time.Time{}, fmt.Errorf("schedule destruction of KEK %s: %w", kek, p.changeError(ctx, v, err))
	}
	return due, nil
}

func (p *Provider) schedule(ctx context.Context, v version) (time.Time, error) {
	got, err := p.alive(ctx, v)
	if err != nil {
		return time.Time{}, err
	}
	var probe []byte // none if it is off: whoever switched it off has proved that
	if state(got) == kms.KEKEnabled {
		if probe, err = p.probe(ctx, v); err != nil {
			return time.Time{}, err
		}
		if err := p.update(ctx, v, kmspb.CryptoKeyVersion_DISABLED); err != nil {
			return time.Time{}, err
		}
	}
	if state(got) != kms.KEKPending {
		if got, err = p.destroy(ctx, v); err != nil {
			return time.Time{}, err
		}
	}
	if got.GetDestroyTime() == nil {
		return time.Time{}, fmt.Errorf("%w: the service gave no date", kms.ErrUnavailable)
	}
	due := got.GetDestroyTime().AsTime()
	if err := p.proveOff(ctx, v, probe); err != nil {
		return time.Time{}, fmt.Errorf("it will be destroyed at %s: %w", due.Format(time.RFC3339), err)
	}
	return due, nil
}

// state puts Google's states in rekey's words. What failed to be made never had
// key material; external keys count as destroyed once Google has let go of them.
func state(v *kmspb.CryptoKeyVersion) kms.KEKState {
	switch v.GetState() {
	case kmspb.CryptoKeyVersion_ENABLED:
		return kms.KEKEnabled
	case kmspb.CryptoKeyVersion_DESTROY_SCHEDULED:
		return kms.KEKPending
	case kmspb.CryptoKeyVersion_DESTROYED, kmspb.CryptoKeyVersion_GENERATION_FAILED, kmspb.CryptoKeyVersion_IMPORT_FAILED,
		kmspb.CryptoKeyVersion_PENDING_EXTERNAL_DESTRUCTION, kmspb.CryptoKeyVersion_EXTERNAL_DESTRUCTION_FAILED:
		return kms.KEKDestroyed
	default: // DISABLED, PENDING_GENERATION, PENDING_IMPORT, and what Google may add
		return kms.KEKDisabled
	}
}

// alive is get, but for versions that cannot be switched: those that cannot be
// brought back, and those still being made.
func (p *Provider) alive(ctx context.Context, v version) (*kmspb.CryptoKeyVersion, error) {
	got, err := p.get(ctx, v)
	if err != nil {
		return nil, err
	}
	switch got.GetState() {
	case kmspb.CryptoKeyVersion_ENABLED, kmspb.CryptoKeyVersion_DISABLED, kmspb.CryptoKeyVersion_DESTROY_SCHEDULED:
		return got, nil
	case kmspb.CryptoKeyVersion_PENDING_GENERATION, kmspb.CryptoKeyVersion_PENDING_IMPORT:
		return nil, fmt.Errorf("%w: it is %s", kms.ErrUnavailable, got.GetState())
	default:
		return nil, fmt.Errorf("%w: it is %s", kms.ErrDisabled, got.GetState())
	}
}

// get never gives a precondition: none is about the state of what is looked at.
func (p *Provider) get(ctx context.Context, v version) (*kmspb.CryptoKeyVersion, error) {
	got, err := call(ctx, p, func(ctx context.Context, r *kmspb.GetCryptoKeyVersionRequest) (*kmspb.CryptoKeyVersion, error) {
		return p.client.GetCryptoKeyVersion(ctx, r)
	}, &kmspb.GetCryptoKeyVersionRequest{Name: v.name()}, kms.ErrNotFound)
	return got, settled(err, kms.ErrDenied)
}

func (p *Provider) update(ctx context.Context, v version, to kmspb.CryptoKeyVersion_CryptoKeyVersionState) error {
	_, err := call(ctx, p, func(ctx context.Context, r *kmspb.UpdateCryptoKeyVersionRequest) (*kmspb.CryptoKeyVersion, error) {
		return p.client.UpdateCryptoKeyVersion(ctx, r)
	}, &kmspb.UpdateCryptoKeyVersionRequest{
		CryptoKeyVersion: &kmspb.CryptoKeyVersion{Name: v.name(), State: to},
		UpdateMask:       &fieldmaskpb.FieldMask{Paths: []string{"state"}},
	}, kms.ErrDenied)
	return err
}

func (p *Provider) restore(ctx context.Context, v version) error {
	_, err := call(ctx, p, func(ctx context.Context, r *kmspb.RestoreCryptoKeyVersionRequest) (*kmspb.CryptoKeyVersion, error) {
		return p.client.RestoreCryptoKeyVersion(ctx, r)
	}, &kmspb.RestoreCryptoKeyVersionRequest{Name: v.name()}, kms.ErrDenied)
	return err
}

func (p *Provider) destroy(ctx context.Context, v version) (*kmspb.CryptoKeyVersion, error) {
	return call(ctx, p, func(ctx context.Context, r *kmspb.DestroyCryptoKeyVersionRequest) (*kmspb.CryptoKeyVersion, error) {
		return p.client.DestroyCryptoKeyVersion(ctx, r)
	}, &kmspb.DestroyCryptoKeyVersionRequest{Name: v.name()}, kms.ErrDenied)
}
