package gcptest

import (
	"context"
	"crypto/cipher"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Ring is the key ring that is there.
const Ring = "projects/rekey-test/locations/europe-west4/keyRings/media"

// Service is a Cloud KMS of one project. Its time stands still but for what Pass
// adds. What is exported is for Set to change, and for tests to look at while
// nobody calls.
type Service struct {
	kmspb.UnimplementedKeyManagementServiceServer

	mu  sync.Mutex
	now time.Time
	// uses counts encryptions and decryptions: each goes to the next front end.
	uses int

	Keys  map[string]*CryptoKey // by resource name
	Calls []string              // the methods, in the order they were called
	// Allowed is what IAM grants on the ring; nil: everything.
	Allowed []string
	// Fault, if set, is asked before each call and its error is the answer.
	Fault func(ctx context.Context, method string) error

	// Spread is how long a version that was switched off goes on working at the
	// slowest of the front ends.
	Spread time.Duration
	// Generation is how long new versions take to be made, after which they fail
	// if GenerationFails.
	Generation      time.Duration
	GenerationFails bool
	// DisableFirst is constraints/cloudkms.disableBeforeDestroy.
	DisableFirst bool
}

// FrontEnds is how many there are: calls go to one after the other.
const FrontEnds = 3

// CryptoKey is a key and its versions.
type CryptoKey struct {
	Purpose      kmspb.CryptoKey_CryptoKeyPurpose
	Level        kmspb.ProtectionLevel
	Versions     []*KeyVersion
	destroyAfter time.Duration
	created      time.Time
}

// KeyVersion is what a KEK is. OffSince is when it was switched off, for what
// Spread says.
type KeyVersion struct {
	Name               string
	State              kmspb.CryptoKeyVersion_CryptoKeyVersionState
	Destroys, OffSince time.Time
	key                string
	number             uint32
	created, ready     time.Time
	destroyed          time.Time
	aead               cipher.AEAD
}

// New returns a service without keys.
func New() *Service {
	return &Service{now: time.Now().Truncate(time.Second), Keys: map[string]*CryptoKey{}}
}

// Pass moves the service's clock.
func (s *Service) Pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// Clock is the service's time.
func (s *Service) Clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Set changes the service between calls.
func (s *Service) Set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Taken returns the methods called since it was last asked.
func (s *Service) Taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.Calls
	s.Calls = nil
	return calls
}

// Serve listens on loopback until the test ends.
func (s *Service) Serve(t testing.TB) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.UnaryInterceptor(s.before))
	kmspb.RegisterKeyManagementServiceServer(srv, s)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// before checks what comes ahead of every method: the routing header, which
// Google asks of gRPC clients, and the injected faults.
func (s *Service) before(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[strings.LastIndexByte(info.FullMethod, '/')+1:]
	s.mu.Lock()
	s.Calls = append(s.Calls, method)
	fault := s.Fault
	s.mu.Unlock()
	var want string
	switch r := req.(type) {
	case *kmspb.UpdateCryptoKeyVersionRequest:
		want = "crypto_key_version.name=" + url.QueryEscape(r.GetCryptoKeyVersion().GetName())
	case interface{ GetParent() string }:
		want = "parent=" + url.QueryEscape(r.GetParent())
	case interface{ GetName() string }:
		want = "name=" + url.QueryEscape(r.GetName())
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if got := md.Get("x-goog-request-params"); !slices.Contains(got, want) {
		return nil, status.Errorf(codes.InvalidArgument, "x-goog-request-params: %q, want %q", got, want)
	}
	if fault != nil {
		if err := fault(ctx, method); err != nil {
			return nil, err
		}
	}
	return handle(ctx, req)
}

// The names of google/cloud/kms/v1/resources.proto.
var (
	keyPattern     = regexp.MustCompile(`^projects/[a-z0-9-]+/locations/[a-z0-9-]+/keyRings/[\w-]{1,63}/cryptoKeys/[\w-]{1,63}$`)
	versionPattern = regexp.MustCompile(`^(projects/[a-z0-9-]+/locations/[a-z0-9-]+/keyRings/[\w-]{1,63}/cryptoKeys/[\w-]{1,63})/cryptoKeyVersions/[1-9]\d*$`)
	idPattern      = regexp.MustCompile(`^[\w-]{1,63}$`)
)

// may is IAM; the caller holds the lock.
func (s *Service) may(permission, resource string) error {
	if s.Allowed == nil || slices.Contains(s.Allowed, permission) {
		return nil
	}
	return status.Errorf(codes.PermissionDenied, "Permission '%s' denied on resource '%s' (or it may not exist).", permission, resource)
}

// find gives a version that the caller may do something with, as it stands now;
// the caller holds the lock.
func (s *Service) find(name, permission string) (*CryptoKey, *KeyVersion, error) {
	m := versionPattern.FindStringSubmatch(name)
	if m == nil {
		return nil, nil, status.Errorf(codes.InvalidArgument, "Resource name [%s] does not match expected format.", name)
	}
	if err := s.may(permission, name); err != nil {
		return nil, nil, err
	}
	k := s.Keys[m[1]]
	if k == nil {
		return nil, nil, status.Errorf(codes.NotFound, "CryptoKey %s not found.", m[1])
	}
	for _, v := range k.Versions {
		if v.Name == name {
			s.age(v)
			return k, v, nil
		}
	}
	return nil, nil, status.Errorf(codes.NotFound, "CryptoKeyVersion %s not found.", name)
}

// age lets happen what time brings.
func (s *Service) age(v *KeyVersion) {
	switch {
	case v.State == kmspb.CryptoKeyVersion_PENDING_GENERATION && !s.now.Before(v.ready):
		v.State = kmspb.CryptoKeyVersion_ENABLED
		if s.GenerationFails {
			v.State, v.aead = kmspb.CryptoKeyVersion_GENERATION_FAILED, nil
		}
	case v.State == kmspb.CryptoKeyVersion_DESTROY_SCHEDULED && !s.now.Before(v.Destroys):
		v.State, v.aead, v.destroyed, v.Destroys = kmspb.CryptoKeyVersion_DESTROYED, nil, s.now, time.Time{}
	}
}

func (v *KeyVersion) proto(k *CryptoKey) *kmspb.CryptoKeyVersion {
	out := &kmspb.CryptoKeyVersion{
		Name: v.Name, State: v.State, ProtectionLevel: k.Level,
		Algorithm:  kmspb.CryptoKeyVersion_GOOGLE_SYMMETRIC_ENCRYPTION,
		CreateTime: timestamppb.New(v.created),
	}
	if v.State == kmspb.CryptoKeyVersion_DESTROY_SCHEDULED {
		out.DestroyTime = timestamppb.New(v.Destroys)
	}
	if v.State == kmspb.CryptoKeyVersion_DESTROYED {
		out.DestroyEventTime = timestamppb.New(v.destroyed)
	}
	if v.State == kmspb.CryptoKeyVersion_GENERATION_FAILED {
		out.GenerationFailureReason = "the HSM gave up"
	}
	return out
}

func (s *Service) GetCryptoKeyVersion(_ context.Context, r *kmspb.GetCryptoKeyVersionRequest) (*kmspb.CryptoKeyVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, v, err := s.find(r.GetName(), "cloudkms.cryptoKeyVersions.get")
	if err != nil {
		return nil, err
	}
	return v.proto(k), nil
}

func (s *Service) newVersion(k *CryptoKey, name string) *KeyVersion {
	v := &KeyVersion{
		key: name, number: uint32(len(k.Versions) + 1), State: kmspb.CryptoKeyVersion_PENDING_GENERATION,
		created: s.now, ready: s.now.Add(s.Generation), aead: newAEAD(),
	}
	v.Name = fmt.Sprintf("%s/cryptoKeyVersions/%d", v.key, v.number)
	s.age(v)
	k.Versions = append(k.Versions, v)
	return v
}
