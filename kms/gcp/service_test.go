package gcp_test

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
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/seed-6133abe0/rekey/kms/gcp"
)

const ring = "projects/rekey-test/locations/europe-west4/keyRings/media"

// service is a Cloud KMS of one project, written from Google's reference. Its
// time stands still but for what pass adds.
type service struct {
	kmspb.UnimplementedKeyManagementServiceServer

	mu   sync.Mutex
	now  time.Time
	keys map[string]*cryptoKey
	// uses counts encryptions and decryptions: each goes to the next front end.
	uses  int
	calls []string // the methods, in the order they were called
	// allowed is what IAM grants on the ring; nil: everything.
	allowed []string
	// fault, if set, is asked before each call and its error is the answer.
	fault func(ctx context.Context, method string) error

	// spread is how long a version that was switched off goes on working at the
	// slowest of the front ends.
	spread time.Duration
	// generation is how long new versions take to be made, after which they fail
	// if generationFails.
	generation      time.Duration
	generationFails bool
	// disableFirst is constraints/cloudkms.disableBeforeDestroy.
	disableFirst bool
}

const frontEnds = 3

type cryptoKey struct {
	purpose      kmspb.CryptoKey_CryptoKeyPurpose
	level        kmspb.ProtectionLevel
	destroyAfter time.Duration
	created      time.Time
	versions     []*keyVersion
}

type keyVersion struct {
	key, name          string
	number             uint32
	state              kmspb.CryptoKeyVersion_CryptoKeyVersionState
	created, ready     time.Time
	destroys, offSince time.Time
	destroyed          time.Time
	aead               cipher.AEAD
}

func newService() *service {
	return &service{now: time.Now().Truncate(time.Second), keys: map[string]*cryptoKey{}}
}

func (s *service) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *service) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// set changes the service between calls.
func (s *service) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// taken returns the methods called since it was last asked.
func (s *service) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// serve listens on loopback until the test ends.
func (s *service) serve(t *testing.T) (addr string) {
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
func (s *service) before(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[strings.LastIndexByte(info.FullMethod, '/')+1:]
	s.mu.Lock()
	s.calls = append(s.calls, method)
	fault := s.fault
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

// open connects the real client; the provider's waits pass on the service's
// clock.
func (s *service) open(t *testing.T, addr string, change func(*gcp.Options)) *gcp.Provider {
	t.Helper()
	o := gcp.Options{
		KeyRing: ring,
		Client:  clientOptions(addr),
		Clock:   s.clock,
		Wait: func(ctx context.Context, d time.Duration) error {
			s.pass(d)
			return ctx.Err()
		},
	}
	if change != nil {
		change(&o)
	}
	p, err := gcp.New(t.Context(), o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

func clientOptions(addr string, more ...grpc.DialOption) []option.ClientOption {
	o := []option.ClientOption{
		option.WithEndpoint(addr),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
	for _, d := range more {
		o = append(o, option.WithGRPCDialOption(d))
	}
	return o
}

// The names of google/cloud/kms/v1/resources.proto.
var (
	keyPattern     = regexp.MustCompile(`^projects/[a-z0-9-]+/locations/[a-z0-9-]+/keyRings/[\w-]{1,63}/cryptoKeys/[\w-]{1,63}$`)
	versionPattern = regexp.MustCompile(`^(projects/[a-z0-9-]+/locations/[a-z0-9-]+/keyRings/[\w-]{1,63}/cryptoKeys/[\w-]{1,63})/cryptoKeyVersions/[1-9]\d*$`)
	idPattern      = regexp.MustCompile(`^[\w-]{1,63}$`)
)

// may is IAM; the caller holds the lock.
func (s *service) may(permission, resource string) error {
	if s.allowed == nil || slices.Contains(s.allowed, permission) {
		return nil
	}
	return status.Errorf(codes.PermissionDenied, "Permission '%s' denied on resource '%s' (or it may not exist).", permission, resource)
}

// find gives a version that the caller may do something with, as it stands now;
// the caller holds the lock.
func (s *service) find(name, permission string) (*cryptoKey, *keyVersion, error) {
	m := versionPattern.FindStringSubmatch(name)
	if m == nil {
		return nil, nil, status.Errorf(codes.InvalidArgument, "Resource name [%s] does not match expected format.", name)
	}
	if err := s.may(permission, name); err != nil {
		return nil, nil, err
	}
	k := s.keys[m[1]]
	if k == nil {
		return nil, nil, status.Errorf(codes.NotFound, "CryptoKey %s not found.", m[1])
	}
	for _, v := range k.versions {
		if v.name == name {
			s.age(v)
			return k, v, nil
		}
	}
	return nil, nil, status.Errorf(codes.NotFound, "CryptoKeyVersion %s not found.", name)
}

// age lets happen what time brings.
func (s *service) age(v *keyVersion) {
	switch {
	case v.state == kmspb.CryptoKeyVersion_PENDING_GENERATION && !s.now.Before(v.ready):
		v.state = kmspb.CryptoKeyVersion_ENABLED
		if s.generationFails {
			v.state, v.aead = kmspb.CryptoKeyVersion_GENERATION_FAILED, nil
		}
	case v.state == kmspb.CryptoKeyVersion_DESTROY_SCHEDULED && !s.now.Before(v.destroys):
		v.state, v.aead, v.destroyed, v.destroys = kmspb.CryptoKeyVersion_DESTROYED, nil, s.now, time.Time{}
	}
}

func (v *keyVersion) proto(k *cryptoKey) *kmspb.CryptoKeyVersion {
	out := &kmspb.CryptoKeyVersion{
		Name: v.name, State: v.state, ProtectionLevel: k.level,
		Algorithm:  kmspb.CryptoKeyVersion_GOOGLE_SYMMETRIC_ENCRYPTION,
		CreateTime: timestamppb.New(v.created),
	}
	if v.state == kmspb.CryptoKeyVersion_DESTROY_SCHEDULED {
		out.DestroyTime = timestamppb.New(v.destroys)
	}
	if v.state == kmspb.CryptoKeyVersion_DESTROYED {
		out.DestroyEventTime = timestamppb.New(v.destroyed)
	}
	if v.state == kmspb.CryptoKeyVersion_GENERATION_FAILED {
		out.GenerationFailureReason = "the HSM gave up"
	}
	return out
}

func (s *service) GetCryptoKeyVersion(_ context.Context, r *kmspb.GetCryptoKeyVersionRequest) (*kmspb.CryptoKeyVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, v, err := s.find(r.GetName(), "cloudkms.cryptoKeyVersions.get")
	if err != nil {
		return nil, err
	}
	return v.proto(k), nil
}

func (s *service) newVersion(k *cryptoKey, name string) *keyVersion {
	v := &keyVersion{
		key: name, number: uint32(len(k.versions) + 1), state: kmspb.CryptoKeyVersion_PENDING_GENERATION,
		created: s.now, ready: s.now.Add(s.generation), aead: newAEAD(),
	}
	v.name = fmt.Sprintf("%s/cryptoKeyVersions/%d", v.key, v.number)
	s.age(v)
	k.versions = append(k.versions, v)
	return v
}
