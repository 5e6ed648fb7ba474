package watch

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
)

const secretText = "0123456789abcdef0123456789abcdef"

func secretFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

// receiver takes events and checks signatures.
type receiver struct {
	*httptest.Server
	got chan Event

	mu      sync.Mutex
	answers []int // to the next POSTs; then 204
	bad     []string
	posts   int
}

func newReceiver(t *testing.T, secure bool) *receiver {
	t.Helper()
	r := &receiver{got: make(chan Event, 1000)}
	if secure {
		r.Server = httptest.NewTLSServer(r)
	} else {
		r.Server = httptest.NewServer(r)
	}
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	mac := hmac.New(sha256.New, []byte(secretText))
	_, _ = fmt.Fprintf(mac, "%s.%s", q.Header.Get("Rekey-Timestamp"), body)
	var e Event
	r.mu.Lock()
	defer r.mu.Unlock()
	r.posts++
	if err != nil || json.Unmarshal(body, &e) != nil || q.Method != http.MethodPost || q.Header.Get("Rekey-Signature") != hex.EncodeToString(mac.Sum(nil)) ||
		q.Header.Get("Content-Type") != "application/json" {
		r.bad = append(r.bad, string(body))
	}
	if len(r.answers) > 0 {
		status := r.answers[0]
		r.answers = r.answers[1:]
		if status == 0 {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		if status/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		return
	}
	r.got <- e
	w.WriteHeader(http.StatusNoContent)
}

// next waits for an event.
func (r *receiver) next(t *testing.T) Event {
	t.Helper()
	select {
	case e := <-r.got:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event came")
		return Event{}
	}
}

func (r *receiver) check(t *testing.T, posts int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.bad) > 0 {
		t.Errorf("not signed, or not as it should be: %q", r.bad)
	}
	if r.posts != posts {
		t.Errorf("%d posts, want %d", r.posts, posts)
	}
}

// hooked is a watcher whose webhook is r, and which does not wait between tries;
// its posting runs until stop is called.
func (b *bench) hooked(t *testing.T, r *receiver, change func(*Webhook)) (w *Watcher, stop func()) {
	t.Helper()
	o := Webhook{URL: r.URL, SecretFile: secretFile(t, secretText+"\n", 0o600)}
	if change != nil {
		change(&o)
	}
	w = b.watcher(t, func(wo *Options) { wo.Webhook, wo.Learn = &o, time.Nanosecond })
	w.hook.pause = func(context.Context, time.Duration) {}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { w.hook.run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return w, stop
}

// TestWebhook: the event of a refusal that a ring put on record, as it arrives.
func TestWebhook(t *testing.T) {
	b := newBench(t)
	kid := b.newKey(t)
	b.setState(t, kid, keyring.Compromised)
	r := newReceiver(t, false)
	w, stop := b.hooked(t, r, nil)
	w.round(t.Context())
	b.add(time.Second)
	asker := b.ring.For(keyring.Asker{Person: "mallory", Role: "operator", Origin: "192.0.2.66", Client: "c1"})
	if _, err := asker.Unwrap(t.Context(), kid, keyring.DecryptRekey, "r9"); err == nil {
		t.Fatal("a compromised key was opened")
	}
	w.round(t.Context())
	e := r.next(t)
	d := e.Details
	if e.Event != CompromisedUnwrap || e.Severity != Critical || e.Count != 1 || !e.Time.Equal(b.Now()) || e.Summary == "" || len(e.ID) != 32 {
		t.Errorf("event %+v", e)
	}
	if d.KID != kid.String() || d.Rotation != "r9" || d.Actor != "mallory" || d.Role != "operator" || d.Origin != "192.0.2.66" || d.Client != "c1" ||
		d.Use != "decrypt-rekey" || d.Action != audit.KeyRefuse || d.Outcome != audit.Refused || !strings.Contains(d.Record, "/") || d.Host == "" {
		t.Errorf("details %+v", d)
	}
	stop()
	r.check(t, 1)
	want(t, w, map[string]float64{"rekey_webhook_sent_total": 1, "rekey_webhook_failures_total": 0, "rekey_webhook_dropped_total": 0, "rekey_webhook_waiting": 0})
}

// TestWebhookBurst: what happens again within a window is one event, with a count.
func TestWebhookBurst(t *testing.T) {
	b := newBench(t)
	r := newReceiver(t, false)
	w, stop := b.hooked(t, r, nil)
	w.round(t.Context())
	for range 100 {
		b.add(time.Second)
		w.KMSFailed("vault", kms.ErrDenied)
		w.round(t.Context())
	}
	if e := r.next(t); e.Count != 1 || e.Details.Scheme != "vault" || e.Details.Class != "denied" {
		t.Errorf("first %+v", e)
	}
	w.KMSFailed("vault", kms.ErrMismatch) // of the same name, so gathered as well
	b.add(5 * time.Minute)
	w.round(t.Context())
	if e := r.next(t); e.Count != 100 || e.Details.Class != "mismatch" {
		t.Errorf("second %+v, want the other hundred", e)
	}
	b.add(time.Hour)
	w.round(t.Context())
	w.KMSFailed("vault", kms.ErrDenied)
	if e := r.next(t); e.Count != 1 {
		t.Errorf("third %+v", e)
	}
	stop()
	r.check(t, 3)
}

// TestWebhookCounts: events that each tell of many are added up.
func TestWebhookCounts(t *testing.T) {
	b := newBench(t)
	r := newReceiver(t, false)
	w, stop := b.hooked(t, r, nil)
	w.round(t.Context())
	b.add(time.Second)
	for range 60 {
		b.append(t, audit.Record{Action: audit.RoleRefuse, Actor: "mallory", Outcome: audit.Refused})
	}
	w.round(t.Context())
	b.add(5 * time.Minute)
	w.round(t.Context())
	for _, n := range []int{20, 40} {
		if e := r.next(t); e.Event != RefusedBurst || e.Severity != Warning || e.Count != n {
			t.Errorf("%+v, want a burst of %d", e, n)
		}
	}
	stop()
	r.check(t, 2)
}

// TestWebhookTries: what may pass is tried again, what does not is given up, and
// a redirect is not followed.
func TestWebhookTries(t *testing.T) {
	for name, c := range map[string]struct {
		answers               []int
		posts, failed, missed float64
	}{
		"taken":       {nil, 1, 0, 0},
		"tried again": {[]int{500, 503, 429, 408}, 5, 4, 0},
		"broken off":  {[]int{0, 0}, 3, 2, 0},
		"given up":    {[]int{500, 500, 500, 500, 500, 500}, 6, 6, 1},
		"refused":     {[]int{403}, 1, 1, 1},
		"redirected":  {[]int{307}, 1, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			r := newReceiver(t, false)
			r.answers = c.answers
			w, stop := b.hooked(t, r, func(o *Webhook) { o.Tries = 6 })
			w.KMSFailed("vault", kms.ErrDenied)
			b.add(time.Hour)
			w.KMSFailed("local", kms.ErrDenied) // shows that the first is settled
			if c.missed == 0 {
				r.next(t)
			}
			if e := r.next(t); e.Details.Scheme != "local" {
				t.Errorf("%+v", e)
			}
			stop()
			r.check(t, int(c.posts)+1)
			want(t, w, map[string]float64{"rekey_webhook_failures_total": c.failed, "rekey_webhook_dropped_total": c.missed, "rekey_webhook_sent_total": 2 - c.missed})
		})
	}
}

// TestWebhookNeverBlocks: with a receiver that does not answer, the watcher goes
// on, what is too much is dropped, and what waits is posted at the end.
func TestWebhookNeverBlocks(t *testing.T) {
	b := newBench(t)
	hang, entered := make(chan struct{}), make(chan struct{}, 100)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-hang
	}))
	defer s.Close()
	defer close(hang)
	w, stop := b.hooked(t, &receiver{Server: s}, func(o *Webhook) { o.Waiting, o.Timeout = 2, 100*time.Millisecond })
	w.round(t.Context())
	w.KMSFailed("vault", kms.ErrDenied)
	<-entered
	for i := range 20 {
		b.add(6 * time.Minute) // longer than what is gathered
		b.append(t, audit.Record{Action: audit.KeyUnwrap, Actor: fmt.Sprint("a", i)})
		w.round(t.Context())
	}
	if n := count(t, w, NewOrigin); n != 20 {
		t.Errorf("%v events noticed, want 20", n)
	}
	stop()
	got := scrape(t, w)
	if got["rekey_webhook_dropped_total"] < 10 || got["rekey_webhook_sent_total"] != 0 || got["rekey_webhook_waiting"] != 0 {
		t.Errorf("dropped %v, sent %v, waiting %v", got["rekey_webhook_dropped_total"], got["rekey_webhook_sent_total"], got["rekey_webhook_waiting"])
	}
}

// TestRun: Run watches, posts, and at its end posts what was gathered.
func TestRun(t *testing.T) {
	b := newBench(t)
	r := newReceiver(t, true)
	roots := x509.NewCertPool()
	roots.AddCert(r.Certificate())
	w := b.watcher(t, func(o *Options) {
		o.Webhook = &Webhook{URL: r.URL, SecretFile: secretFile(t, secretText, 0o400), TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
		o.Interval = time.Millisecond
	})
	second, looks := make(chan struct{}), 0
	b.store.on(func(op, name string) error {
		if name == checkpointName {
			if looks++; looks == 2 {
				close(second)
			}
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	w.KMSFailed("vault", kms.ErrDenied)
	r.next(t)
	<-second // so a whole round was made
	w.KMSFailed("vault", kms.ErrDenied)
	w.KMSFailed("vault", kms.ErrDenied)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if e := r.next(t); e.Count != 2 {
		t.Errorf("at the end %+v, want a count of 2", e)
	}
	r.check(t, 2)
	if scrape(t, w)["rekey_watch_last_round_timestamp_seconds"] == 0 {
		t.Error("Run made no round")
	}
}

func TestWebhookRefused(t *testing.T) {
	good := secretFile(t, secretText, 0o600)
	for name, c := range map[string]struct {
		url, secret string
		good        bool
	}{
		"https":             {"https://example.org/hook?token=geheim", good, true},
		"loopback":          {"http://127.0.0.1:1/", good, true},
		"loopback 6":        {"http://[::1]:1/", good, true},
		"localhost":         {"http://localhost:1/", good, true},
		"http elsewhere":    {"http://192.0.2.1/geheim", good, false},
		"http by name":      {"http://example.org/geheim", good, false},
		"like localhost":    {"http://localhost.example.org/geheim", good, false},
		"user":              {"https://geheim:geheim@example.org/", good, false},
		"no host":           {"https:///geheim", good, false},
		"other scheme":      {"ftp://example.org/geheim", good, false},
		"no URL":            {"https://exa mple/geheim\x7f", good, false},
		"no secret":         {"https://example.org/", filepath.Join(t.TempDir(), "none"), false},
		"secret for others": {"https://example.org/", secretFile(t, secretText, 0o640), false},
		"short secret":      {"https://example.org/", secretFile(t, secretText[:31]+"\n\n", 0o600), false},
		"huge secret":       {"https://example.org/", secretFile(t, strings.Repeat("x", maxSecret+1), 0o600), false},
		"secret is a dir":   {"https://example.org/", t.TempDir(), false},
	} {
		_, err := New(Options{Webhook: &Webhook{URL: c.url, SecretFile: c.secret}})
		if (err == nil) != c.good || err != nil && !errors.Is(err, ErrWebhook) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), secretText[:16])) {
			t.Errorf("%s: the error tells what may be secret: %v", name, err)
		}
	}
}

// TestLoopbackOnly: a name that means another machine is found out when it is
// dialled.
func TestLoopbackOnly(t *testing.T) {
	c := newClient(Webhook{Timeout: time.Second}, false)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://192.0.2.1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, ErrWebhook) {
		t.Errorf("%v, want ErrWebhook", err)
	}
}

// TestTwice: one registry takes one watcher.
func TestTwice(t *testing.T) {
	b := newBench(t)
	w := b.watcher(t, nil)
	if _, err := New(Options{Registry: w.Registry()}); err == nil {
		t.Error("two watchers count in the same metrics")
	}
}
