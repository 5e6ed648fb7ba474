package watch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is a control store with a log and a ring, on one clock.
type bench struct {
	*clock
	store *faulty
	root  string
	log   *audit.Log
	ring  *keyring.Ring
	open  rotations
}

type rotations map[string]time.Time

func (r rotations) Opened(_ context.Context, rotation string, _ key.KID) (time.Time, error) {
	if t, ok := r[rotation]; ok {
		return t, nil
	}
	return time.Time{}, keyring.ErrForbidden
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{clock: &clock{now: time.Date(2026, 5, 4, 3, 0, 0, 0, time.UTC)}, root: t.TempDir(), open: rotations{}}
	dir, err := store.OpenDir(b.root)
	if err != nil {
		t.Fatal(err)
	}
	b.store = &faulty{Store: dir, clock: b.clock}
	b.log = audit.New(b.store, b.Now, "alice")
	local := kms.NewLocal(kms.LocalOptions{Path: filepath.Join(t.TempDir(), "master")})
	kek, err := local.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.ring = keyring.New(keyring.Options{
		Store: b.store, KMS: local, KEK: kek, Log: b.log, Clock: b.Now, Rotations: b.open,
		Lifetimes: []keyring.Lifetime{{After: 90 * 24 * time.Hour}, {Tag: "short", After: 10 * 24 * time.Hour}},
	})
	return b
}

// faulty is a store whose objects' times are the bench's, and whose calls a test
// may fail.
type faulty struct {
	store.Store
	clock *clock

	mu      sync.Mutex
	before  func(op, name string) error
	written map[string]time.Time
}

var errDown = errors.New("down")

func (f *faulty) on(hook func(op, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = hook
}

func (f *faulty) check(op, name string) error {
	f.mu.Lock()
	hook := f.before
	f.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(op, name)
}

func (f *faulty) Put(ctx context.Context, name string, body []byte, o store.PutOptions) (store.Info, error) {
	if err := f.check("put", name); err != nil {
		return store.Info{}, err
	}
	info, err := f.Store.Put(ctx, name, body, o)
	if err == nil {
		f.mu.Lock()
		if f.written == nil {
			f.written = map[string]time.Time{}
		}
		f.written[name] = f.clock.Now()
		f.mu.Unlock()
	}
	return info, err
}

func (f *faulty) Get(ctx context.Context, name string, o store.GetOptions) (store.Info, io.ReadCloser, error) {
	if err := f.check("get", name); err != nil {
		return store.Info{}, nil, err
	}
	info, body, err := f.Store.Get(ctx, name, o)
	f.mu.Lock()
	defer f.mu.Unlock()
	if at, ok := f.written[name]; ok {
		info.Modified = at
	}
	return info, body, err
}

func (b *bench) watcher(t *testing.T, change func(*Options)) *Watcher {
	t.Helper()
	o := Options{Control: b.store, Ring: b.ring, Clock: b.Now}
	if change != nil {
		change(&o)
	}
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (b *bench) append(t *testing.T, r audit.Record) {
	t.Helper()
	if r.Outcome == "" {
		r.Outcome = audit.Allowed
	}
	if err := b.log.Append(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) newKey(t *testing.T, tags ...string) key.KID {
	t.Helper()
	kid := key.NewKID()
	if _, err := b.ring.Import(t.Context(), kid, key.NewContentKey(), keyring.ImportOptions{Tags: tags}); err != nil {
		t.Fatal(err)
	}
	return kid
}

func (b *bench) setState(t *testing.T, kid key.KID, s keyring.State) {
	t.Helper()
	if err := b.ring.SetState(t.Context(), kid, s, "test"); err != nil {
		t.Fatal(err)
	}
}

// look makes as many rounds as it takes until a tail has looked at streams that
// were silent for long, too.
func look(t *testing.T, w *Watcher) {
	t.Helper()
	for range 17 {
		w.round(t.Context())
	}
}

// scrape reads /metrics as Prometheus does: name{labels} -> value.
func scrape(t *testing.T, w *Watcher) map[string]float64 {
	t.Helper()
	answer := httptest.NewRecorder()
	w.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("metrics: %d %s", answer.Code, answer.Body)
	}
	out := map[string]float64{}
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
		if err != nil {
			t.Fatalf("metrics: %q: %v", line, err)
		}
		out[line[:at]] = v
	}
	return out
}

// want checks metrics; one that is not exported is an error.
func want(t *testing.T, w *Watcher, values map[string]float64) {
	t.Helper()
	got := scrape(t, w)
	for name, v := range values {
		if g, ok := got[name]; !ok || g != v {
			t.Errorf("%s = %v (exported: %v), want %v", name, g, ok, v)
		}
	}
}

func count(t *testing.T, w *Watcher, event string) float64 {
	t.Helper()
	v, ok := scrape(t, w)[`rekey_events_total{event="`+event+`"}`]
	if !ok {
		t.Fatalf("event %s is not exported", event)
	}
	return v
}
