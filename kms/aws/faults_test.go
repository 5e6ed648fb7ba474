package aws_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/aws"
)

func allClasses() []error {
	return []error{
		kms.ErrDisabled, kms.ErrDenied, kms.ErrNotFound, kms.ErrThrottled, kms.ErrUnavailable, kms.ErrMismatch, kms.ErrExists,
		context.Canceled, context.DeadlineExceeded,
	}
}

// everyCall makes each call of the provider once. name is for Create.
func everyCall(t *testing.T, k kek, name string) map[string]func() error {
	return everyCallIn(t, k, name, t.Context())
}

func everyCallIn(t *testing.T, k kek, name string, ctx context.Context) map[string]func() error {
	return map[string]func() error{
		"Wrap": func() error {
			w, err := k.Wrap(ctx, k.id, key.KID{}, key.NewContentKey())
			if err != nil && w != nil {
				t.Error("wrapped bytes beside the error")
			}
			return err
		},
		"Unwrap": func() error {
			c, err := k.Unwrap(ctx, k.id, key.KID{}, []byte("wrapped"))
			if err != nil && !c.IsZero() {
				t.Error("a key beside the error")
			}
			return err
		},
		"Create":              func() error { _, err := k.Create(ctx, name); return err },
		"Describe":            func() error { _, err := k.Describe(ctx, k.id); return err },
		"Disable":             func() error { return k.Disable(ctx, k.id) },
		"Enable":              func() error { return k.Enable(ctx, k.id) },
		"ScheduleDestruction": func() error { _, err := k.ScheduleDestruction(ctx, k.id); return err },
	}
}

// TestErrorClasses: what says nothing of a KEK is of the same class wherever it
// comes, after one call.
func TestErrorClasses(t *testing.T) {
	html := func(status int) *answer { return &answer{status: status, body: "<html>no</html>"} }
	k := newKEK(t)
	for _, tt := range []struct {
		name  string
		fault *answer
		want  error
	}{
		{"throttled", awsError("ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."), kms.ErrThrottled},
		{"throttled, in full", awsError("com.amazonaws.kms#ThrottlingException", "Rate exceeded"), kms.ErrThrottled},
		{"limit", awsError("LimitExceededException", "The quota for customer managed keys has been exceeded."), kms.ErrThrottled},
		{"429", html(429), kms.ErrThrottled},
		{"internal", awsError("KMSInternalException", ""), kms.ErrUnavailable},
		{"dependency", awsError("DependencyTimeoutException", "The system timed out while trying to fulfill the request."), kms.ErrUnavailable},
		{"key unavailable", awsError("KeyUnavailableException", "The key is currently unavailable."), kms.ErrUnavailable},
		{"internal failure", awsError("InternalFailure", ""), kms.ErrUnavailable},
		{"service unavailable", awsError("ServiceUnavailableException", "Service is unavailable, please try again"), kms.ErrUnavailable},
		{"another 500", &answer{status: 500, body: `{"__type":"SomethingNew"}`}, kms.ErrUnavailable},
		{"502 of a proxy", html(502), kms.ErrUnavailable},
		{"504 without a body", &answer{status: 504}, kms.ErrUnavailable},
		{"request timeout", awsError("RequestTimeoutException", "slow"), kms.ErrUnavailable},
		{"hung up", &answer{err: io.EOF}, kms.ErrUnavailable},
		{"reset", &answer{err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}, kms.ErrUnavailable},
		{"refused", &answer{err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, kms.ErrUnavailable},
		{"no such host", &answer{err: &net.DNSError{Err: "no such host", Name: "kms.eu-central-1.amazonaws.com", IsNotFound: true}}, kms.ErrUnavailable},
		{"certificate", &answer{err: x509.UnknownAuthorityError{}}, kms.ErrUnavailable},
		{"no JSON", &answer{status: 200, body: `{"KeyMetadata":`}, kms.ErrUnavailable},
		{"expired token", awsError("ExpiredTokenException", "The security token included in the request is expired"), kms.ErrDenied},
		{"invalid token", awsError("UnrecognizedClientException", "The security token included in the request is invalid."), kms.ErrDenied},
		{"signature", awsError("InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than 20260101T000500Z"), kms.ErrDenied},
		{"no signature", awsError("MissingAuthenticationTokenException", "Request is missing Authentication Token"), kms.ErrDenied},
		{"region not opted in", &answer{status: 403, body: `{"__type":"OptInRequired"}`}, kms.ErrDenied},
		{"403 of a proxy", html(403), kms.ErrDenied},
		{"validation", awsError("ValidationException", "1 validation error detected"), kms.ErrDenied},
		{"unsupported", awsError("UnsupportedOperationException", "no"), kms.ErrDenied},
		{"many lines", awsError("ThrottlingException", "a\nb\r\n"+strings.Repeat("c", 5000)), kms.ErrThrottled},
	} {
		k.set(func() { k.fault = func(*request) *answer { return tt.fault } })
		for name, do := range everyCall(t, k, "other") {
			k.taken()
			wantOne(t, name+": "+tt.name, do(), tt.want)
			if calls := k.taken(); len(calls) != 1 {
				t.Errorf("%s: %s: called %q, want one call and no retry", name, tt.name, calls)
			}
		}
	}
}

// TestUseRefused: what AWS says of the use of a KEK, and of the KEK if it is
// asked then.
func TestUseRefused(t *testing.T) {
	k := newKEK(t)
	state := func(s string) *answer {
		return &answer{status: 200, body: fmt.Sprintf(`{"KeyMetadata":{"KeyId":"x","Arn":%q,"KeyState":%q}}`, k.arn(), s)}
	}
	denied := awsError("AccessDeniedException", "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.")
	invalid := awsError("KMSInvalidStateException", k.arn()+" is pending deletion.")
	gone := awsError("NotFoundException", "Key '"+k.arn()+"' does not exist")
	slow := awsError("ThrottlingException", "Rate exceeded")
	broken := awsError("KMSInternalException", "")
	for _, tt := range []struct {
		name            string
		refused, looked *answer // looked is nil where nobody is to look
		want            error
	}{
		{"disabled", awsError("DisabledException", k.arn()+" is disabled."), nil, kms.ErrDisabled},
		{"disabled, in AWS's older words for pending deletion", awsError("DisabledException", k.arn()+" is pending deletion."), nil, kms.ErrDisabled},
		{"gone", gone, nil, kms.ErrNotFound},
		{"no ARN", awsError("InvalidArnException", "Invalid arn"), nil, kms.ErrNotFound},
		{"another key's", awsError("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation."), nil, kms.ErrMismatch},
		{"another context's, or damaged", awsError("InvalidCiphertextException", ""), nil, kms.ErrMismatch},
		{"of another kind", awsError("InvalidKeyUsageException", "key usage is SIGN_VERIFY which is not valid for Encrypt."), nil, kms.ErrDenied},
		{"pending deletion", invalid, state("PendingDeletion"), kms.ErrDisabled},
		{"pending deletion of replicas", invalid, state("PendingReplicaDeletion"), kms.ErrDisabled},
		{"pending import", invalid, state("PendingImport"), kms.ErrDisabled},
		{"invalid, and disabled", invalid, state("Disabled"), kms.ErrDisabled},
		{"invalid, and enabled since", invalid, state("Enabled"), kms.ErrUnavailable},
		{"invalid, key store disconnected", invalid, state("Unavailable"), kms.ErrUnavailable},
		{"invalid, and updating", invalid, state("Updating"), kms.ErrUnavailable},
		{"invalid, and creating", invalid, state("Creating"), kms.ErrUnavailable},
		{"invalid, and gone since", invalid, gone, kms.ErrNotFound},
		{"invalid, and not to be looked at", invalid, denied, kms.ErrDisabled},
		{"invalid, and looking is throttled", invalid, slow, kms.ErrThrottled},
		{"denied", denied, state("Enabled"), kms.ErrDenied},
		{"denied, and updating", denied, state("Updating"), kms.ErrDenied},
		{"denied, and disabled", denied, state("Disabled"), kms.ErrDisabled},
		{"denied, and pending deletion", denied, state("PendingDeletion"), kms.ErrDisabled},
		{"denied, and gone", denied, gone, kms.ErrNotFound},
		{"denied, and not to be looked at", denied, denied, kms.ErrDenied},
		{"denied, and looking fails", denied, broken, kms.ErrUnavailable},
	} {
		want := []string{"DescribeKey"}
		if tt.looked == nil {
			want = nil
		}
		k.faulty(map[string]*answer{"Encrypt": tt.refused, "Decrypt": tt.refused, "DescribeKey": tt.looked})
		all := everyCall(t, k, "")
		for name, action := range map[string]string{"Wrap": "Encrypt", "Unwrap": "Decrypt"} {
			k.taken()
			wantOne(t, name+": "+tt.name, all[name](), tt.want)
			if calls := k.taken(); !slices.Equal(calls, append([]string{action}, want...)) {
				t.Errorf("%s: %s: called %q, want %s and %q", name, tt.name, calls, action, want)
			}
		}
	}
}

// TestDisabledKeyUnderAWS: what local-kms and AWS really answer for a KEK that is
// off, through a client that has not heard of it.
func TestDisabledKeyUnderAWS(t *testing.T) {
	k := newKEK(t)
	kid, c := key.NewKID(), key.NewContentKey()
	w := k.wrapped(t, kid, c)
	other := k.open(t, nil)
	use := func(what string, want error) {
		t.Helper()
		_, err := other.Unwrap(t.Context(), k.id, kid, w)
		wantOne(t, "Unwrap "+what, err, want)
		_, err = other.Wrap(t.Context(), k.id, kid, c)
		wantOne(t, "Wrap "+what, err, want)
	}
	if err := k.Disable(t.Context(), k.id); err != nil {
		t.Fatal(err)
	}
	use("while disabled", kms.ErrDisabled)
	// A caller without permission is denied before AWS looks at the key.
	k.set(func() {
		k.policy = &policy{Statement: []statement{{Action: []string{"kms:DescribeKey"}, Resource: []string{"*"}}}}
	})
	use("while disabled, without permission", kms.ErrDisabled)
	k.set(func() { k.policy = &policy{} })
	use("while disabled, without any permission", kms.ErrDenied)
	k.set(func() { k.policy = nil })
	if _, err := k.ScheduleDestruction(t.Context(), k.id); err != nil {
		t.Fatal(err)
	}
	use("while pending", kms.ErrDisabled)
	k.pass(8 * 24 * time.Hour)
	use("when it is gone", kms.ErrNotFound)
	for name, do := range everyCall(t, k, "other") {
		if name != "Create" {
			wantOne(t, name+" when it is gone", do(), kms.ErrNotFound)
		}
	}
}

// TestValidationIsNotQuoted: the service may quote what it was sent.
func TestValidationIsNotQuoted(t *testing.T) {
	k := newKEK(t)
	k.set(func() {
		k.fault = func(r *request) *answer {
			return awsError("ValidationException", "1 validation error detected: Value '"+r.text("Plaintext")+"' at 'plaintext' failed")
		}
	})
	c := key.NewContentKey()
	raw := c.RevealSecretBytes()
	_, err := k.Wrap(t.Context(), k.id, key.KID{}, c)
	wantOne(t, "Wrap", err, kms.ErrDenied)
	if strings.Contains(err.Error(), base64.StdEncoding.EncodeToString(raw[:])) || strings.Contains(err.Error(), "Value") {
		t.Errorf("quotes what was sent: %v", err)
	}
	if !strings.Contains(err.Error(), "ValidationException") {
		t.Errorf("does not say what it was: %v", err)
	}
}

// TestStrangeAnswers: success that is none.
func TestStrangeAnswers(t *testing.T) {
	k := newKEK(t)
	ok := func(format string, args ...any) *answer {
		return &answer{status: 200, body: fmt.Sprintf(format, args...)}
	}
	other := strings.Replace(k.arn(), "key/", "key/0", 1)
	free := awsError("NotFoundException", "Alias is not found.")
	for _, tt := range []struct {
		name   string
		call   string
		faults map[string]*answer
		want   error
	}{
		{"encrypted under another key", "Wrap", map[string]*answer{"Encrypt": ok(`{"KeyId":%q,"CiphertextBlob":"AAAA"}`, other)}, kms.ErrUnavailable},
		{"no ciphertext", "Wrap", map[string]*answer{"Encrypt": ok(`{"KeyId":%q}`, k.arn())}, kms.ErrUnavailable},
		{"ciphertext too long", "Wrap", map[string]*answer{"Encrypt": ok(`{"KeyId":%q,"CiphertextBlob":%q}`, k.arn(), strings.Repeat("AAAA", 2000))}, kms.ErrUnavailable},
		{"nothing encrypted", "Wrap", map[string]*answer{"Encrypt": ok(`{}`)}, kms.ErrUnavailable},
		{"decrypted under another key", "Unwrap", map[string]*answer{"Decrypt": ok(`{"KeyId":%q,"Plaintext":"AAAAAAAAAAAAAAAAAAAAAA=="}`, other)}, kms.ErrMismatch},
		{"plaintext too short", "Unwrap", map[string]*answer{"Decrypt": ok(`{"KeyId":%q,"Plaintext":"AAAA"}`, k.arn())}, kms.ErrMismatch},
		{"no plaintext", "Unwrap", map[string]*answer{"Decrypt": ok(`{"KeyId":%q}`, k.arn())}, kms.ErrMismatch},
		{"nothing described", "Describe", map[string]*answer{"DescribeKey": ok(`{}`)}, kms.ErrUnavailable},
		{"nothing made", "Create", map[string]*answer{"DescribeKey": free, "CreateKey": ok(`{}`)}, kms.ErrUnavailable},
		{"something else made", "Create", map[string]*answer{"DescribeKey": free, "CreateKey": ok(`{"KeyMetadata":{"KeyId":"x","Arn":"arn:aws:s3:::x"}}`)}, kms.ErrUnavailable},
		{"still being made", "Disable", map[string]*answer{"DescribeKey": ok(`{"KeyMetadata":{"KeyId":"x","KeyState":"Creating"}}`)}, kms.ErrUnavailable},
		{"still being updated", "Enable", map[string]*answer{"DescribeKey": ok(`{"KeyMetadata":{"KeyId":"x","KeyState":"Updating"}}`)}, kms.ErrUnavailable},
	} {
		k.faulty(tt.faults)
		wantOne(t, tt.name, everyCall(t, k, "strange")[tt.call](), tt.want)
	}
}

func TestContextErrors(t *testing.T) {
	k := newKEK(t)
	k.set(func() {
		k.fault = func(r *request) *answer {
			<-r.http.Context().Done() // the service hangs
			return &answer{err: r.http.Context().Err()}
		}
	})
	for name := range everyCall(t, k, "other") {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		wantOne(t, name+" past its deadline", everyCallIn(t, k, "other", ctx)[name](), context.DeadlineExceeded)
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		wantOne(t, name+" cancelled", everyCallIn(t, k, "other", ctx)[name](), context.Canceled)
		cancel()
	}
	// The bound on one call is the provider's own business.
	k.Provider = k.open(t, func(o *aws.Options) { o.CallTimeout = 10 * time.Millisecond })
	for name, do := range everyCall(t, k, "other") {
		wantOne(t, name+" without an answer", do(), kms.ErrUnavailable)
	}
}

// TestNobodyListens goes through the client's own transport.
func TestNobodyListens(t *testing.T) {
	k := newKEK(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	k.Provider = k.open(t, func(o *aws.Options) {
		o.Endpoint = "http://" + addr
		o.Load = append(o.Load, config.WithHTTPClient(&http.Client{Transport: &http.Transport{}}))
	})
	for name, do := range everyCall(t, k, "other") {
		wantOne(t, name, do(), kms.ErrUnavailable)
	}
}
