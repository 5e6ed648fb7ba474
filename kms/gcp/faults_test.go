package gcp_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/gcp"
)

// refusal is how Google refuses the use of a version.
func refusal(version, kind string) error {
	s, err := status.New(codes.FailedPrecondition, version+" is not enabled, current state is: DISABLED.").WithDetails(
		&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{Type: kind, Subject: version}}})
	if err != nil {
		return err
	}
	return s.Err()
}

// everyCall makes each call of the provider whose first call of the service is
// the one of that name.
func everyCall(t *testing.T, k kek, ctx context.Context) map[string]func() error {
	return map[string]func() error{
		"Wrap": func() error {
			w, err := k.Wrap(ctx, k.id, key.KID{}, key.NewContentKey())
			if w != nil {
				t.Error("wrapped bytes beside the error")
			}
			return err
		},
		"Unwrap": func() error {
			c, err := k.Unwrap(ctx, k.id, key.KID{}, []byte("wrapped"))
			if !c.IsZero() {
				t.Error("a key beside the error")
			}
			return err
		},
		"Create":              func() error { _, err := k.Create(ctx, "other"); return err },
		"Describe":            func() error { _, err := k.Describe(ctx, k.id); return err },
		"Disable":             func() error { return k.Disable(ctx, k.id) },
		"Enable":              func() error { return k.Enable(ctx, k.id) },
		"ScheduleDestruction": func() error { _, err := k.ScheduleDestruction(ctx, k.id); return err },
	}
}

func TestProtocolErrorClasses(t *testing.T) {
	classes := map[codes.Code]error{
		codes.NotFound:          kms.ErrNotFound,
		codes.AlreadyExists:     kms.ErrExists,
		codes.PermissionDenied:  kms.ErrDenied,
		codes.Unauthenticated:   kms.ErrDenied,
		codes.Unimplemented:     kms.ErrDenied,
		codes.OutOfRange:        kms.ErrDenied,
		codes.ResourceExhausted: kms.ErrThrottled,
		codes.Unavailable:       kms.ErrUnavailable,
		codes.Internal:          kms.ErrUnavailable,
		codes.DeadlineExceeded:  kms.ErrUnavailable,
		codes.Aborted:           kms.ErrUnavailable,
		codes.Canceled:          kms.ErrUnavailable, // by the service
		codes.Unknown:           kms.ErrUnavailable,
		codes.DataLoss:          kms.ErrUnavailable,
		// InvalidArgument and FailedPrecondition depend on the call.
	}
	k := newKEK(t, newService(), nil)
	for code, want := range classes {
		k.Set(func() {
			k.Fault = func(context.Context, string) error { return status.Error(code, "so it is") }
		})
		for name, do := range everyCall(t, k, t.Context()) {
			k.Taken()
			wantOne(t, name+" "+code.String(), do(), want)
			if calls := k.Taken(); len(calls) != 1 {
				t.Errorf("%s %s: called %q, want one call and no retry", name, code, calls)
			}
		}
	}
}

func TestProtocolInvalidArgument(t *testing.T) {
	k := newKEK(t, newService(), nil)
	for message, want := range map[string]map[string]error{
		"Decryption failed: the ciphertext is invalid.": {
			"Unwrap": kms.ErrMismatch, "Wrap": kms.ErrDenied, "Create": kms.ErrDenied, "Describe": kms.ErrNotFound,
		},
		"The checksum in field additional_authenticated_data_crc32c did not match the data in field additional_authenticated_data.": {
			"Unwrap": kms.ErrUnavailable, "Wrap": kms.ErrUnavailable,
		},
	} {
		k.Set(func() {
			k.Fault = func(context.Context, string) error { return status.Error(codes.InvalidArgument, message) }
		})
		all := everyCall(t, k, t.Context())
		for name, want := range want {
			wantOne(t, name+" "+message, all[name](), want)
		}
	}
}

func TestProtocolPrecondition(t *testing.T) {
	k := newKEK(t, newService(), nil)
	for _, tt := range []struct {
		name    string
		refused error
		// looked is what looking at the version says.
		looked       error
		unwrap, wrap error
	}{
		{"disabled, and not to be looked at", refusal(k.name(), "KEY_DISABLED"), status.Error(codes.PermissionDenied, "no"), kms.ErrDisabled, kms.ErrDisabled},
		{"disabled, and gone since", refusal(k.name(), "KEY_DISABLED"), status.Error(codes.NotFound, "no"), kms.ErrNotFound, kms.ErrNotFound},
		{"disabled, and looking is throttled", refusal(k.name(), "KEY_DISABLED"), status.Error(codes.ResourceExhausted, "no"), kms.ErrThrottled, kms.ErrThrottled},
		{"disabled, and looking is refused too", refusal(k.name(), "KEY_DISABLED"), status.Error(codes.FailedPrecondition, "no"), kms.ErrDisabled, kms.ErrDisabled},
		{"another version is disabled", refusal(k.cryptoKey()+"/cryptoKeyVersions/7", "KEY_DISABLED"), nil, kms.ErrMismatch, kms.ErrMismatch},
		{"something else", status.Error(codes.FailedPrecondition, "the access reason is not among those allowed"), nil, kms.ErrDenied, kms.ErrDenied},
		{"enabled since", refusal(k.name(), "KEY_DISABLED"), nil, kms.ErrUnavailable, kms.ErrUnavailable},
	} {
		k.Set(func() {
			k.Fault = func(_ context.Context, method string) error {
				if method == "GetCryptoKeyVersion" {
					return tt.looked
				}
				return tt.refused
			}
		})
		all := everyCall(t, k, t.Context())
		wantOne(t, tt.name+": Unwrap", all["Unwrap"](), tt.unwrap)
		wantOne(t, tt.name+": Wrap", all["Wrap"](), tt.wrap)
		wantOne(t, tt.name+": Create", all["Create"](), kms.ErrDenied)
	}
	for _, looked := range []codes.Code{codes.FailedPrecondition, codes.PermissionDenied} {
		k.Set(func() { k.Fault = func(context.Context, string) error { return status.Error(looked, "no") } })
		for name, do := range everyCall(t, k, t.Context()) {
			if name != "Wrap" && name != "Unwrap" {
				wantOne(t, name+" "+looked.String(), do(), kms.ErrDenied)
			}
		}
	}
	k.Set(func() {
		k.Fault = func(_ context.Context, method string) error {
			if method == "UpdateCryptoKeyVersion" {
				return status.Error(codes.FailedPrecondition, "a policy of the organisation")
			}
			return nil
		}
	})
	wantOne(t, "Disable against a policy", k.Disable(t.Context(), k.id), kms.ErrDenied)
}

// TestProtocolDestroyedMeanwhile: a version falls due between the look and the
// change.
func TestProtocolDestroyedMeanwhile(t *testing.T) {
	k := newKEK(t, newService(), nil)
	if _, err := k.ScheduleDestruction(t.Context(), k.id); err != nil {
		t.Fatal(err)
	}
	k.Set(func() {
		k.Fault = func(_ context.Context, method string) error {
			if method == "RestoreCryptoKeyVersion" {
				k.Pass(31 * 24 * time.Hour)
			}
			return nil
		}
	})
	wantOne(t, "Enable", k.Enable(t.Context(), k.id), kms.ErrDisabled)
}

func TestProtocolContextErrors(t *testing.T) {
	k := newKEK(t, newService(), nil)
	k.Set(func() {
		k.Fault = func(ctx context.Context, _ string) error {
			<-ctx.Done() // the client goes, or its time is up
			return status.FromContextError(ctx.Err()).Err()
		}
	})
	for name := range everyCall(t, k, t.Context()) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		wantOne(t, name+" past its deadline", everyCall(t, k, ctx)[name](), context.DeadlineExceeded)
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		wantOne(t, name+" cancelled", everyCall(t, k, ctx)[name](), context.Canceled)
		cancel()
	}
	// The bound on one call is the provider's own business.
	k.Provider = k.open(t, k.addr, func(o *gcp.Options) { o.CallTimeout = 20 * time.Millisecond })
	for name, do := range everyCall(t, k, t.Context()) {
		wantOne(t, name+" without an answer", do(), kms.ErrUnavailable)
	}
}

func TestProtocolNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := newService()
	k := kek{s, s.open(t, addr, nil), addr, gcp.Scheme + ":" + ring + "/cryptoKeys/movies/cryptoKeyVersions/1"}
	for name, do := range everyCall(t, k, t.Context()) {
		wantOne(t, name, do(), kms.ErrUnavailable)
	}
}

// TestProtocolDamageInTransit changes requests after their checksums were made,
// and answers before they are checked.
func TestProtocolDamageInTransit(t *testing.T) {
	k := newKEK(t, newService(), nil)
	kid, c := key.NewKID(), key.NewContentKey()
	w := k.wrapped(t, kid, c)
	for name, damage := range map[string]func(req, resp any){
		"plaintext sent": func(req, _ any) {
			if r, ok := req.(*kmspb.EncryptRequest); ok {
				r.Plaintext = append([]byte{r.Plaintext[0] ^ 1}, r.Plaintext[1:]...)
			}
		},
		"authenticated data sent to encrypt": func(req, _ any) {
			if r, ok := req.(*kmspb.EncryptRequest); ok {
				r.AdditionalAuthenticatedData[0] ^= 1
			}
		},
		"plaintext checksum lost": func(req, _ any) {
			if r, ok := req.(*kmspb.EncryptRequest); ok {
				r.PlaintextCrc32C = nil
			}
		},
		"authenticated data checksum lost": func(req, _ any) {
			if r, ok := req.(*kmspb.EncryptRequest); ok {
				r.AdditionalAuthenticatedDataCrc32C = nil
			}
		},
		"encrypted under another version": func(_, resp any) {
			if r, ok := resp.(*kmspb.EncryptResponse); ok {
				r.Name += "0"
			}
		},
		"ciphertext received": func(_, resp any) {
			if r, ok := resp.(*kmspb.EncryptResponse); ok && len(r.Ciphertext) > 0 {
				r.Ciphertext[20] ^= 1
			}
		},
		"ciphertext checksum received lost": func(_, resp any) {
			if r, ok := resp.(*kmspb.EncryptResponse); ok {
				r.CiphertextCrc32C = nil
			}
		},
		"no ciphertext received": func(_, resp any) {
			if r, ok := resp.(*kmspb.EncryptResponse); ok {
				r.Ciphertext, r.CiphertextCrc32C = nil, wrapperspb.Int64(0)
			}
		},
		"ciphertext sent": func(req, _ any) {
			if r, ok := req.(*kmspb.DecryptRequest); ok {
				r.Ciphertext = append([]byte{r.Ciphertext[0] ^ 1}, r.Ciphertext[1:]...)
			}
		},
		"authenticated data sent to decrypt": func(req, _ any) {
			if r, ok := req.(*kmspb.DecryptRequest); ok {
				r.AdditionalAuthenticatedData[0] ^= 1
			}
		},
		"plaintext received": func(_, resp any) {
			if r, ok := resp.(*kmspb.DecryptResponse); ok && len(r.Plaintext) > 0 {
				r.Plaintext[0] ^= 1
			}
		},
		"plaintext checksum received lost": func(_, resp any) {
			if r, ok := resp.(*kmspb.DecryptResponse); ok {
				r.PlaintextCrc32C = nil
			}
		},
	} {
		p := k.open(t, k.addr, func(o *gcp.Options) { o.Client = clientOptions(k.addr, grpc.WithUnaryInterceptor(damaging(damage))) })
		got, wrapErr := p.Wrap(t.Context(), k.id, kid, c)
		back, unwrapErr := p.Unwrap(t.Context(), k.id, kid, w)
		if (wrapErr == nil) == (unwrapErr == nil) {
			t.Errorf("%s: Wrap: %v, Unwrap: %v; want one of them to fail", name, wrapErr, unwrapErr)
			continue
		}
		if wrapErr != nil && got != nil || unwrapErr != nil && !back.IsZero() {
			t.Errorf("%s: bytes beside the error", name)
		}
		wantOne(t, name, errors.Join(wrapErr, unwrapErr), kms.ErrUnavailable)
	}
}

func damaging(damage func(req, resp any)) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, resp any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		damage(req, nil)
		err := invoke(ctx, method, req, resp, cc, opts...)
		if err == nil {
			damage(nil, resp)
		}
		return err
	}
}
