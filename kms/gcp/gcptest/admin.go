package gcptest

import (
	"context"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (s *Service) CreateCryptoKey(_ context.Context, r *kmspb.CreateCryptoKeyRequest) (*kmspb.CryptoKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.may("cloudkms.cryptoKeys.create", r.GetParent()); err != nil {
		return nil, err
	}
	if r.GetParent() != Ring {
		return nil, status.Errorf(codes.NotFound, "KeyRing %s not found.", r.GetParent())
	}
	k, bad := newCryptoKey(r)
	if bad != "" {
		return nil, status.Error(codes.InvalidArgument, bad)
	}
	name := r.GetParent() + "/cryptoKeys/" + r.GetCryptoKeyId()
	if s.Keys[name] != nil {
		return nil, status.Errorf(codes.AlreadyExists, "CryptoKey %s already exists.", name)
	}
	s.Keys[name] = k
	k.created = s.now
	out := &kmspb.CryptoKey{
		Name: name, Purpose: k.Purpose, CreateTime: timestamppb.New(k.created), VersionTemplate: r.GetCryptoKey().GetVersionTemplate(),
		DestroyScheduledDuration: r.GetCryptoKey().GetDestroyScheduledDuration(),
	}
	if !r.GetSkipInitialVersionCreation() {
		out.Primary = s.newVersion(k, name).proto(k)
	}
	return out, nil
}

// newCryptoKey reads the request; bad says what is wrong with it.
func newCryptoKey(r *kmspb.CreateCryptoKeyRequest) (k *CryptoKey, bad string) {
	want := r.GetCryptoKey()
	level := want.GetVersionTemplate().GetProtectionLevel()
	after := 30 * 24 * time.Hour
	if d := want.GetDestroyScheduledDuration(); d != nil {
		after = d.AsDuration()
	}
	switch {
	case !idPattern.MatchString(r.GetCryptoKeyId()):
		return nil, "crypto_key_id does not match [a-zA-Z0-9_-]{1,63}."
	case want.GetName() != "" || want.GetPrimary() != nil || want.GetCreateTime() != nil:
		return nil, "crypto_key has output-only fields set."
	case want.GetPurpose() != kmspb.CryptoKey_ENCRYPT_DECRYPT:
		return nil, "crypto_key.purpose is required to be ENCRYPT_DECRYPT here."
	case want.GetVersionTemplate().GetAlgorithm() != kmspb.CryptoKeyVersion_GOOGLE_SYMMETRIC_ENCRYPTION:
		return nil, "crypto_key.version_template.algorithm does not go with the purpose."
	case level != kmspb.ProtectionLevel_SOFTWARE && level != kmspb.ProtectionLevel_HSM:
		return nil, "crypto_key.version_template.protection_level is not supported."
	case after < 24*time.Hour || after > 120*24*time.Hour:
		return nil, "crypto_key.destroy_scheduled_duration is out of bounds."
	}
	return &CryptoKey{Purpose: want.GetPurpose(), Level: level, destroyAfter: after}, ""
}

func (s *Service) CreateCryptoKeyVersion(_ context.Context, r *kmspb.CreateCryptoKeyVersionRequest) (*kmspb.CryptoKeyVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.Keys[r.GetParent()]
	if k == nil {
		return nil, status.Errorf(codes.NotFound, "CryptoKey %s not found.", r.GetParent())
	}
	return s.newVersion(k, r.GetParent()).proto(k), nil
}

func (s *Service) UpdateCryptoKeyVersion(_ context.Context, r *kmspb.UpdateCryptoKeyVersionRequest) (*kmspb.CryptoKeyVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, v, err := s.find(r.GetCryptoKeyVersion().GetName(), "cloudkms.cryptoKeyVersions.update")
	if err != nil {
		return nil, err
	}
	if len(r.GetUpdateMask().GetPaths()) == 0 {
		return nil, status.Error(codes.InvalidArgument, "update_mask is required.")
	}
	for _, path := range r.GetUpdateMask().GetPaths() {
		if path != "state" {
			return nil, status.Errorf(codes.InvalidArgument, "update_mask: %s may not be updated.", path)
		}
	}
	to := r.GetCryptoKeyVersion().GetState()
	if to != kmspb.CryptoKeyVersion_ENABLED && to != kmspb.CryptoKeyVersion_DISABLED {
		return nil, status.Errorf(codes.InvalidArgument, "crypto_key_version.state may not be set to %s.", to)
	}
	if v.State != kmspb.CryptoKeyVersion_ENABLED && v.State != kmspb.CryptoKeyVersion_DISABLED {
		return nil, notInState(v, "ENABLED or DISABLED")
	}
	if to == kmspb.CryptoKeyVersion_DISABLED && v.State == kmspb.CryptoKeyVersion_ENABLED {
		v.OffSince = s.now
	}
	v.State = to
	return v.proto(k), nil
}

func (s *Service) DestroyCryptoKeyVersion(_ context.Context, r *kmspb.DestroyCryptoKeyVersionRequest) (*kmspb.CryptoKeyVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, v, err := s.find(r.GetName(), "cloudkms.cryptoKeyVersions.destroy")
	if err != nil {
		return nil, err
	}
	switch {
	case v.State == kmspb.CryptoKeyVersion_ENABLED && s.DisableFirst:
		return nil, notInState(v, "DISABLED, by constraints/cloudkms.disableBeforeDestroy")
	case v.State == kmspb.CryptoKeyVersion_ENABLED:
		v.OffSince = s.now
	case v.State != kmspb.CryptoKeyVersion_DISABLED:
		return nil, notInState(v, "ENABLED or DISABLED")
	}
	v.State, v.Destroys = kmspb.CryptoKeyVersion_DESTROY_SCHEDULED, s.now.Add(k.destroyAfter)
	return v.proto(k), nil
}

func (s *Service) RestoreCryptoKeyVersion(_ context.Context, r *kmspb.RestoreCryptoKeyVersionRequest) (*kmspb.CryptoKeyVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, v, err := s.find(r.GetName(), "cloudkms.cryptoKeyVersions.restore")
	if err != nil {
		return nil, err
	}
	if v.State != kmspb.CryptoKeyVersion_DESTROY_SCHEDULED {
		return nil, notInState(v, "DESTROY_SCHEDULED")
	}
	v.State, v.Destroys = kmspb.CryptoKeyVersion_DISABLED, time.Time{}
	return v.proto(k), nil
}

func notInState(v *KeyVersion, want string) error {
	return status.Errorf(codes.FailedPrecondition, "%s is not in state %s, current state is: %s.", v.Name, want, v.State)
}
