package gcptest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func newAEAD() cipher.AEAD {
	var k [32]byte
	_, _ = rand.Read(k[:])
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func castagnoli(b []byte) int64 { return int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))) }

// sound checks a field against the checksum that came with it; verified says
// that one came.
func sound(field string, b []byte, sum *wrapperspb.Int64Value) (verified bool, err error) {
	if sum == nil {
		return false, nil
	}
	if sum.GetValue() != castagnoli(b) {
		return false, status.Errorf(codes.InvalidArgument, "The checksum in field %s_crc32c did not match the data in field %s.", field, field)
	}
	return true, nil
}

// usable asks the next front end whether it lets the version be used; the caller
// holds the lock. The front ends hear of a change one after the other.
func (s *Service) usable(v *KeyVersion) error {
	s.uses++
	lag := s.Spread * time.Duration(s.uses%FrontEnds+1) / FrontEnds
	if v.aead != nil && (v.State == kmspb.CryptoKeyVersion_ENABLED || !v.OffSince.IsZero() && s.now.Before(v.OffSince.Add(lag))) {
		return nil
	}
	out := status.Newf(codes.FailedPrecondition, "%s is not enabled, current state is: %s.", v.Name, v.State)
	kind := "KEY_" + v.State.String()
	out, err := out.WithDetails(&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{Type: kind, Subject: v.Name}}})
	if err != nil {
		return err
	}
	return out.Err()
}

func (s *Service) Encrypt(_ context.Context, r *kmspb.EncryptRequest) (*kmspb.EncryptResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.GetName()
	if keyPattern.MatchString(name) { // the primary: here it stays the first
		name += "/cryptoKeyVersions/1"
	}
	k, v, err := s.find(name, "cloudkms.cryptoKeyVersions.useToEncrypt")
	if err != nil {
		return nil, err
	}
	plain, aad := r.GetPlaintext(), r.GetAdditionalAuthenticatedData()
	if len(plain) > 64<<10 || len(aad) > 64<<10 || k.Level == kmspb.ProtectionLevel_HSM && len(plain)+len(aad) > 8<<10 {
		return nil, status.Error(codes.InvalidArgument, "The request is too large.")
	}
	plainOK, err := sound("plaintext", plain, r.GetPlaintextCrc32C())
	if err != nil {
		return nil, err
	}
	aadOK, err := sound("additional_authenticated_data", aad, r.GetAdditionalAuthenticatedDataCrc32C())
	if err != nil {
		return nil, err
	}
	if err := s.usable(v); err != nil {
		return nil, err
	}
	ciphertext := v.aead.Seal(header(v.key, v.number), nil, plain, aad)
	return &kmspb.EncryptResponse{
		Name: v.Name, Ciphertext: ciphertext, CiphertextCrc32C: wrapperspb.Int64(castagnoli(ciphertext)), ProtectionLevel: k.Level,
		VerifiedPlaintextCrc32C: plainOK, VerifiedAdditionalAuthenticatedDataCrc32C: aadOK,
	}, nil
}

// header begins a ciphertext, as Google's do: it names CryptoKey and version.
func header(key string, number uint32) []byte {
	sum := sha256.Sum256([]byte(key))
	return binary.BigEndian.AppendUint32(append([]byte{0x0a, 0x24}, sum[:4]...), number)
}

func (s *Service) Decrypt(_ context.Context, r *kmspb.DecryptRequest) (*kmspb.DecryptResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !keyPattern.MatchString(r.GetName()) { // a version is not taken
		return nil, status.Errorf(codes.InvalidArgument, "Resource name [%s] does not match expected format.", r.GetName())
	}
	if err := s.may("cloudkms.cryptoKeyVersions.useToDecrypt", r.GetName()); err != nil {
		return nil, err
	}
	if s.Keys[r.GetName()] == nil {
		return nil, status.Errorf(codes.NotFound, "CryptoKey %s not found.", r.GetName())
	}
	sealed, aad := r.GetCiphertext(), r.GetAdditionalAuthenticatedData()
	if _, err := sound("ciphertext", sealed, r.GetCiphertextCrc32C()); err != nil {
		return nil, err
	}
	if _, err := sound("additional_authenticated_data", aad, r.GetAdditionalAuthenticatedDataCrc32C()); err != nil {
		return nil, err
	}
	if len(sealed) < 10 || string(sealed[:6]) != string(header(r.GetName(), 0)[:6]) {
		return nil, status.Error(codes.InvalidArgument, "Decryption failed: verify that 'name' refers to the correct CryptoKey.")
	}
	number := binary.BigEndian.Uint32(sealed[6:])
	k, v, err := s.find(fmt.Sprintf("%s/cryptoKeyVersions/%d", r.GetName(), number), "cloudkms.cryptoKeyVersions.useToDecrypt")
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "Decryption failed: the ciphertext is invalid.")
	}
	if err := s.usable(v); err != nil {
		return nil, err
	}
	plain, err := v.aead.Open(nil, nil, sealed[10:], aad)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "Decryption failed: the ciphertext is invalid.")
	}
	return &kmspb.DecryptResponse{
		Plaintext: plain, PlaintextCrc32C: wrapperspb.Int64(castagnoli(plain)),
		UsedPrimary: number == 1, ProtectionLevel: k.Level,
	}, nil
}
