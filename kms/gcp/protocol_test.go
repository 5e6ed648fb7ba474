package gcp_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	apiv1 "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/grpc"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/gcp"
	"github.com/seed-6133abe0/rekey/kms/kmstest"
)

// TestProtocolConforms runs the suite against the protocol as Google documents
// it, not against Google.
func TestProtocolConforms(t *testing.T) {
	for name, tt := range map[string]struct {
		service func(*service)
		options func(*gcp.Options)
	}{
		"Plain":        {},
		"HSM":          {options: func(o *gcp.Options) { o.Protection = gcp.HSM }},
		"Spread":       {service: func(s *service) { s.Spread = 70 * time.Second }},
		"DisableFirst": {service: func(s *service) { s.DisableFirst, s.Spread = true, 10*time.Minute }},
		"Generation":   {service: func(s *service) { s.Generation = time.Minute }},
		"OneDay":       {options: func(o *gcp.Options) { o.DestroyAfter = 24 * time.Hour }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService()
			if tt.service != nil {
				tt.service(s)
			}
			addr := s.Serve(t)
			kmstest.Run(t, kmstest.Target{
				Open:  func(t *testing.T) kms.Provider { return s.open(t, addr, tt.options) },
				Later: s.Pass,
			})
		})
	}
}

// kek is a KEK of a service that stands ready.
type kek struct {
	*service
	*gcp.Provider
	addr, id string
}

func newKEK(t *testing.T, s *service, options func(*gcp.Options)) kek {
	t.Helper()
	addr := s.Serve(t)
	p := s.open(t, addr, options)
	id, err := p.Create(t.Context(), "movies")
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	s.Taken()
	return kek{s, p, addr, id}
}

// raw is Google's client without a provider around it.
func (k kek) raw(t *testing.T) *apiv1.KeyManagementClient {
	t.Helper()
	c, err := apiv1.NewKeyManagementClient(t.Context(), clientOptions(k.addr)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (k kek) wrapped(t *testing.T, kid key.KID, c key.ContentKey) []byte {
	t.Helper()
	w, err := k.Wrap(t.Context(), k.id, kid, c)
	if err != nil {
		t.Fatalf("Wrap: %v", err)
	}
	return w
}

// name is the resource name of the version.
func (k kek) name() string { return strings.TrimPrefix(k.id, gcp.Scheme+":") }

func (k kek) cryptoKey() string { return strings.TrimSuffix(k.name(), "/cryptoKeyVersions/1") }

func TestProtocolCreates(t *testing.T) {
	k := newKEK(t, newService(), func(o *gcp.Options) { o.Protection, o.DestroyAfter = gcp.HSM, 25*time.Hour })
	if want := gcp.Scheme + ":" + ring + "/cryptoKeys/movies/cryptoKeyVersions/1"; k.id != want {
		t.Errorf("id %s, want %s", k.id, want)
	}
	d, err := k.Describe(t.Context(), k.id)
	if err != nil || d.Name != "movies" || !d.Created.Equal(k.Clock()) || !d.Destroys.IsZero() {
		t.Errorf("Describe: %+v, %v", d, err)
	}
	made := k.Keys[k.cryptoKey()]
	if made.Level != kmspb.ProtectionLevel_HSM || made.Purpose != kmspb.CryptoKey_ENCRYPT_DECRYPT {
		t.Errorf("made at level %s for %s", made.Level, made.Purpose)
	}
	due, err := k.ScheduleDestruction(t.Context(), k.id)
	if want := k.Clock().Add(25 * time.Hour); err != nil || due.Sub(want).Abs() > time.Minute {
		t.Errorf("destroyed at %s, %v; want %s", due, err, want)
	}
	again, err := k.ScheduleDestruction(t.Context(), k.id)
	if err != nil || !again.Equal(due) {
		t.Errorf("scheduled again: %s, %v; want %s", again, err, due)
	}
	k.Pass(26 * time.Hour)
	d, err = k.Describe(t.Context(), k.id)
	if err != nil || d.State != kms.KEKDestroyed || !d.Destroys.Equal(k.Clock()) {
		t.Errorf("after the date: %+v, %v", d, err)
	}
	for call, err := range map[string]error{"Disable": k.Disable(t.Context(), k.id), "Enable": k.Enable(t.Context(), k.id)} {
		if !errors.Is(err, kms.ErrDisabled) {
			t.Errorf("%s after the date: %v, want ErrDisabled", call, err)
		}
	}
}

func TestProtocolGeneration(t *testing.T) {
	s := newService()
	s.Generation = time.Hour // longer than anyone waits
	p := s.open(t, s.Serve(t), nil)
	if id, err := p.Create(t.Context(), "slow"); !errors.Is(err, kms.ErrUnavailable) || id != "" {
		t.Errorf("Create: %q, %v; want ErrUnavailable", id, err)
	}
	slow := gcp.Scheme + ":" + ring + "/cryptoKeys/slow/cryptoKeyVersions/1"
	_, wrapErr := p.Wrap(t.Context(), slow, key.NewKID(), key.NewContentKey())
	for call, err := range map[string]error{"Wrap": wrapErr, "Disable": p.Disable(t.Context(), slow), "Enable": p.Enable(t.Context(), slow)} {
		if !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("%s while it is made: %v, want ErrUnavailable", call, err)
		}
	}
	s.Set(func() { s.Generation, s.GenerationFails = time.Minute, true })
	if _, err := p.Create(t.Context(), "broken"); !errors.Is(err, kms.ErrDenied) || !strings.Contains(err.Error(), "the HSM gave up") {
		t.Errorf("Create: %v, want ErrDenied with the reason", err)
	}
	broken := gcp.Scheme + ":" + ring + "/cryptoKeys/broken/cryptoKeyVersions/1"
	if d, err := p.Describe(t.Context(), broken); err != nil || d.State != kms.KEKDestroyed {
		t.Errorf("Describe: %+v, %v", d, err)
	}
}

// TestProtocolVersionsAreApart: two KEKs that are versions of one CryptoKey.
func TestProtocolVersionsAreApart(t *testing.T) {
	k := newKEK(t, newService(), nil)
	made, err := k.raw(t).CreateCryptoKeyVersion(t.Context(), &kmspb.CreateCryptoKeyVersionRequest{Parent: k.cryptoKey()})
	if err != nil {
		t.Fatal(err)
	}
	second := gcp.Scheme + ":" + made.GetName()
	kid, c := key.NewKID(), key.NewContentKey()
	w := k.wrapped(t, kid, c)
	apart := func(when string) {
		t.Helper()
		if got, err := k.Unwrap(t.Context(), second, kid, w); !errors.Is(err, kms.ErrMismatch) || !got.IsZero() {
			t.Errorf("%s: unwrapped as another version: %v, want ErrMismatch", when, err)
		}
	}
	apart("both enabled")
	if w2, err := k.Wrap(t.Context(), second, kid, c); err != nil {
		t.Error(err)
	} else if got, err := k.Unwrap(t.Context(), second, kid, w2); err != nil || !got.Equal(c) {
		t.Errorf("the second version by itself: %v", err)
	}
	// The control: the service itself picks the first version for any caller that
	// names the CryptoKey. The KEK in the authenticated data is what stops it.
	aad := kms.Context(kid)
	aad["kek"] = k.id
	resp, err := k.raw(t).Decrypt(t.Context(), &kmspb.DecryptRequest{
		Name: k.cryptoKey(), Ciphertext: w, AdditionalAuthenticatedData: kms.Canonical(aad),
	})
	raw := c.RevealSecretBytes()
	if err != nil || !slices.Equal(resp.GetPlaintext(), raw[:]) {
		t.Errorf("decrypted by hand: %v", err)
	}
	if err := k.Disable(t.Context(), k.id); err != nil {
		t.Fatal(err)
	}
	apart("the first disabled")
}

// TestProtocolProbesAreNoKeys: what Disable encrypts does not unwrap, and neither
// does anything else that is no content key.
func TestProtocolProbesAreNoKeys(t *testing.T) {
	k := newKEK(t, newService(), nil)
	var probes [][]byte
	keep := damaging(func(_, resp any) {
		if r, ok := resp.(*kmspb.EncryptResponse); ok {
			probes = append(probes, slices.Clone(r.GetCiphertext()))
		}
	})
	p := k.open(t, k.addr, func(o *gcp.Options) { o.Client = clientOptions(k.addr, grpc.WithUnaryInterceptor(keep)) })
	if err := errors.Join(p.Disable(t.Context(), k.id), p.Enable(t.Context(), k.id)); err != nil {
		t.Fatal(err)
	}
	if len(probes) < 2 {
		t.Fatalf("%d probes seen, want one of Disable and one of Enable", len(probes))
	}
	for _, probe := range probes {
		if _, err := k.Unwrap(t.Context(), k.id, key.KID{}, probe); !errors.Is(err, kms.ErrMismatch) {
			t.Errorf("a probe: %v, want ErrMismatch", err)
		}
	}
	short := []byte("fifteen bytes..")
	c := kms.Context(key.KID{})
	c["kek"] = k.id
	resp, err := k.raw(t).Encrypt(t.Context(), &kmspb.EncryptRequest{Name: k.name(), Plaintext: short, AdditionalAuthenticatedData: kms.Canonical(c)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Unwrap(t.Context(), k.id, key.KID{}, resp.GetCiphertext()); !errors.Is(err, kms.ErrMismatch) {
		t.Errorf("no 16 bytes: %v, want ErrMismatch", err)
	}
	for _, w := range [][]byte{nil, make([]byte, 4<<10+1)} {
		k.Taken()
		if _, err := k.Unwrap(t.Context(), k.id, key.KID{}, w); !errors.Is(err, kms.ErrMismatch) || len(k.Taken()) != 0 {
			t.Errorf("%d bytes: %v, want ErrMismatch without a call", len(w), err)
		}
	}
}

func TestProtocolUnknown(t *testing.T) {
	k := newKEK(t, newService(), nil)
	w := k.wrapped(t, key.KID{}, key.NewContentKey())
	for _, id := range []string{
		strings.Replace(k.id, "/movies/", "/series/", 1),
		strings.TrimSuffix(k.id, "1") + "2",
		strings.Replace(k.id, "keyRings/media", "keyRings/other", 1),
	} {
		_, describeErr := k.Describe(t.Context(), id)
		_, wrapErr := k.Wrap(t.Context(), id, key.KID{}, key.NewContentKey())
		_, scheduleErr := k.ScheduleDestruction(t.Context(), id)
		for call, err := range map[string]error{
			"Describe": describeErr, "Wrap": wrapErr, "ScheduleDestruction": scheduleErr,
			"Disable": k.Disable(t.Context(), id), "Enable": k.Enable(t.Context(), id),
		} {
			if !errors.Is(err, kms.ErrNotFound) {
				t.Errorf("%s of %s: %v, want ErrNotFound", call, id, err)
			}
		}
		// The CryptoKey may be there: then it is bytes of another KEK.
		if _, err := k.Unwrap(t.Context(), id, key.KID{}, w); !errors.Is(err, kms.ErrNotFound) && !errors.Is(err, kms.ErrMismatch) {
			t.Errorf("Unwrap under %s: %v", id, err)
		}
	}
	if _, err := k.open(t, k.addr, func(o *gcp.Options) { o.KeyRing += "2" }).Create(t.Context(), "movies"); !errors.Is(err, kms.ErrNotFound) {
		t.Errorf("Create in a ring that is not there: %v, want ErrNotFound", err)
	}
}

func TestNewRefusesOptions(t *testing.T) {
	for name, change := range map[string]func(*gcp.Options){
		"no ring":         func(o *gcp.Options) { o.KeyRing = "" },
		"a key":           func(o *gcp.Options) { o.KeyRing = ring + "/cryptoKeys/k" },
		"two lines":       func(o *gcp.Options) { o.KeyRing = ring + "\n" },
		"protection":      func(o *gcp.Options) { o.Protection = "EXTERNAL" },
		"too soon":        func(o *gcp.Options) { o.DestroyAfter = 24*time.Hour - 1 },
		"too late":        func(o *gcp.Options) { o.DestroyAfter = 120*24*time.Hour + 1 },
		"negative time":   func(o *gcp.Options) { o.Poll = -1 },
		"negative count":  func(o *gcp.Options) { o.Refusals = -1 },
		"negative bound":  func(o *gcp.Options) { o.PollFor = -1 },
		"negative a call": func(o *gcp.Options) { o.CallTimeout = -1 },
		"another host":    func(o *gcp.Options) { o.Endpoint = "cloudkms.example:443" },
		"another address": func(o *gcp.Options) { o.Endpoint = "192.0.2.1:443" },
		"any address":     func(o *gcp.Options) { o.Endpoint = "0.0.0.0:443" },
		"no port":         func(o *gcp.Options) { o.Endpoint = "127.0.0.1" },
		"port of no kind": func(o *gcp.Options) { o.Endpoint = "127.0.0.1:0" },
		"an URL":          func(o *gcp.Options) { o.Endpoint = "http://127.0.0.1:9000" },
		"a scheme":        func(o *gcp.Options) { o.Endpoint = "dns:///127.0.0.1:9000" },
	} {
		o := gcp.Options{KeyRing: ring, Client: clientOptions("127.0.0.1:1")}
		change(&o)
		if p, err := gcp.New(t.Context(), o); !errors.Is(err, gcp.ErrOptions) || p != nil {
			t.Errorf("%s: %v, want ErrOptions", name, err)
		}
	}
}

// TestProtocolEndpoint: the option alone reaches a server on this machine, and
// nothing looks for credentials.
func TestProtocolEndpoint(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
	k := newKEK(t, newService(), nil)
	_, port, err := net.SplitHostPort(k.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, endpoint := range []string{k.addr, "localhost:" + port} {
		p, err := gcp.New(t.Context(), gcp.Options{KeyRing: ring, Endpoint: endpoint})
		if err != nil {
			t.Fatalf("New: %v", err)
		}
		if d, err := p.Describe(t.Context(), k.id); err != nil || d.State != kms.KEKEnabled {
			t.Errorf("at %s: %+v, %v", endpoint, d, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPrintsTheRingAlone(t *testing.T) {
	s := newService()
	p := s.open(t, "127.0.0.1:1", nil)
	want := gcp.Scheme + ":" + ring
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, p); got != want {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "p", p)
	if !strings.Contains(out.String(), "p="+want+"\n") {
		t.Errorf("slog prints %q", out.String())
	}
}

// wantOne wants the error to be of one class, or the context's.
func wantOne(t *testing.T, what string, err, want error) {
	t.Helper()
	for _, c := range []error{
		kms.ErrDisabled, kms.ErrDenied, kms.ErrNotFound, kms.ErrThrottled, kms.ErrUnavailable, kms.ErrMismatch, kms.ErrExists,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, c) != (c == want) { //nolint:errorlint // the table's own sentinels
			t.Errorf("%s: %v: is %v: %v; want it to be %v alone", what, err, c, errors.Is(err, c), want)
		}
	}
}
