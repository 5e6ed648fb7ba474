package keyring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

// cacheBench is a cache over a ring whose openings are counted.
type cacheBench struct {
	*bench
	cache *Cache
	now   *time.Time
	calls *[]string
}

func newCacheBench(t *testing.T, o CacheOptions) *cacheBench {
	t.Helper()
	b := newBench(t)
	b.opened("r2")
	at, calls := start, []string{}
	c := &cacheBench{bench: b, now: &at, calls: &calls}
	ro := b.o
	ro.KMS = &spy{Wrapper: b.kms, calls: c.calls}
	ro.Clock = func() time.Time { return *c.now }
	c.cache = NewCache(New(ro), o)
	return c
}

// opened opens another rotation.
func (b *bench) opened(name string) {
	b.open[name] = start
}

// unwrap asks the cache, and says whether the key service was asked.
func (c *cacheBench) unwrap(t *testing.T, kid key.KID, use Use, rotation string) (asked bool, err error) {
	t.Helper()
	before := len(*c.calls)
	k, err := c.cache.Unwrap(t.Context(), kid, use, rotation)
	if (err == nil) == k.IsZero() {
		t.Errorf("key %v with error %v", k, err)
	}
	return len(*c.calls) > before, err
}

func (c *cacheBench) wantAsked(t *testing.T, kid key.KID, use Use, rotation string, want bool) {
	t.Helper()
	if asked, err := c.unwrap(t, kid, use, rotation); err != nil || asked != want {
		t.Errorf("%s for %q: asked %v, %v; want %v", use, rotation, asked, err, want)
	}
}

// TestCache: a key is kept for one rotation and one use, not without a rotation,
// and no longer than it may be.
func TestCache(t *testing.T) {
	c := newCacheBench(t, CacheOptions{For: time.Minute})
	kid := key.NewKID()
	c.mustImport(t, kid, key.NewContentKey())
	c.wantAsked(t, kid, DecryptRekey, "r1", true)
	c.wantAsked(t, kid, DecryptRekey, "r1", false)
	c.wantAsked(t, kid, Encrypt, "r1", true)
	c.wantAsked(t, kid, DecryptRekey, "r2", true)
	c.wantAsked(t, kid, DecryptRekey, "r1", false)
	for range 2 {
		c.wantAsked(t, kid, Verify, "", true)
	}
	*c.now = start.Add(time.Minute - 1)
	c.wantAsked(t, kid, Encrypt, "r1", false)
	*c.now = start.Add(time.Minute)
	c.wantAsked(t, kid, Encrypt, "r1", true)
	if n := len(c.cache.kept); n != 1 {
		t.Errorf("%d are kept, want the new one", n)
	}
}

// TestCacheLooksAtState: what a state forbids is refused at once, and forgotten.
func TestCacheLooksAtState(t *testing.T) {
	c := newCacheBench(t, CacheOptions{})
	kid := key.NewKID()
	c.mustImport(t, kid, key.NewContentKey())
	c.wantAsked(t, kid, Encrypt, "r1", true)
	c.wantAsked(t, kid, DecryptRekey, "r1", true)
	c.mustSet(t, kid, Compromised)
	c.wantAsked(t, kid, DecryptRekey, "r1", false)
	if asked, err := c.unwrap(t, kid, Encrypt, "r1"); !errors.Is(err, ErrForbidden) || asked {
		t.Errorf("a compromised key encrypts: %v, asked %v", err, asked)
	}
	if e := c.lastEntry(t); e.Action != "key.refuse" {
		t.Errorf("audit record %+v", e)
	}
	delete(c.bench.open, "r1") // the rotation is over
	if asked, err := c.unwrap(t, kid, DecryptRekey, "r1"); !errors.Is(err, ErrForbidden) || asked {
		t.Errorf("for a rotation that is over: %v, asked %v", err, asked)
	}
	if n := len(c.cache.kept); n != 0 {
		t.Errorf("%d are kept still", n)
	}
}

// TestCacheOfSecrets: a secret is kept for its rotation.
func TestCacheOfSecrets(t *testing.T) {
	c := newCacheBench(t, CacheOptions{})
	id := key.KIDFromURI("rotation:r1")
	if err := c.CreateSecret(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	var first key.ContentKey
	for i := range 3 {
		k, err := c.cache.OpenSecret(t.Context(), id, "r1")
		if err != nil || i > 0 && !k.Equal(first) {
			t.Fatalf("OpenSecret: another, or %v", err)
		}
		first = k
	}
	if len(*c.calls) != 1 {
		t.Errorf("asked %d times, want once", len(*c.calls))
	}
	if k, err := c.cache.Unwrap(t.Context(), id, "", "r1"); err == nil || !k.IsZero() {
		t.Error("a secret was handed out as a key")
	}
	if _, err := c.cache.OpenSecret(t.Context(), key.KIDFromURI("none"), "r1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("OpenSecret of none: %v, want ErrNotFound", err)
	}
}

// TestCacheBounds: no more are kept than may be, and each key is right.
func TestCacheBounds(t *testing.T) {
	c := newCacheBench(t, CacheOptions{Keys: 3})
	keys := map[key.KID]key.ContentKey{}
	for range 8 {
		kid, k := key.NewKID(), key.NewContentKey()
		c.mustImport(t, kid, k)
		keys[kid] = k
	}
	for range 2 {
		for kid, k := range keys {
			got, err := c.cache.Unwrap(t.Context(), kid, Verify, "r1")
			if err != nil || !got.Equal(k) {
				t.Errorf("Unwrap: %v, or another key", err)
			}
			if n := len(c.cache.kept); n > 3 {
				t.Fatalf("%d are kept, want at most 3", n)
			}
		}
	}
}

// TestCacheDrop: Drop, Sweep and Close forget what they should, overwrite it, and
// nothing else.
func TestCacheDrop(t *testing.T) {
	c := newCacheBench(t, CacheOptions{For: time.Hour})
	kid := key.NewKID()
	c.mustImport(t, kid, key.NewContentKey())
	fill := func() (entries []*keptKey) {
		for _, r := range []string{"r1", "r2"} {
			if _, err := c.unwrap(t, kid, Verify, r); err != nil {
				t.Fatal(err)
			}
			entries = append(entries, c.cache.kept[cached{kid, Verify, r}])
		}
		return entries
	}
	over := func(names ...string) func(context.Context, string) (bool, error) {
		return func(_ context.Context, r string) (bool, error) {
			for _, n := range names {
				if n == r {
					return true, nil
				}
			}
			if r == "r2" {
				return true, errors.New("it cannot be told") // and is taken for open
			}
			return false, nil
		}
	}
	left := func(what string, entries []*keptKey, want ...bool) {
		t.Helper()
		for i, e := range entries {
			if kept := c.cache.kept[cached{kid, Verify, fmt.Sprintf("r%d", i+1)}] == e; kept != want[i] || e.k.IsZero() == want[i] {
				t.Errorf("%s: r%d kept %v, overwritten %v; want kept %v", what, i+1, kept, e.k.IsZero(), want[i])
			}
		}
	}
	if !c.cache.Empty() {
		t.Error("a new cache is not empty")
	}
	entries := fill()
	if c.cache.Empty() {
		t.Error("a cache that holds keys is empty")
	}
	c.cache.Drop("r1")
	left("Drop", entries, false, true)
	entries = fill()
	if c.cache.Sweep(t.Context(), over()) {
		t.Error("Sweep dropped something where nothing is over")
	}
	left("Sweep", entries, true, true)
	if !c.cache.Sweep(t.Context(), over("r1")) {
		t.Error("Sweep says that it dropped nothing")
	}
	left("Sweep", entries, false, true)
	entries = fill()
	*c.now = c.now.Add(time.Hour)
	if !c.cache.Sweep(t.Context(), over()) {
		t.Error("Sweep says that it dropped nothing")
	}
	left("Sweep of what is too old", entries, false, false)
	entries = fill()
	c.cache.Close()
	left("Close", entries, false, false)
	c.wantAsked(t, kid, Verify, "r1", true)
	c.wantAsked(t, kid, Verify, "r1", true)
}

// slow opens keys only when told to.
type slow struct {
	Wrapper
	opening, goOn chan struct{}
}

func (s *slow) Unwrap(ctx context.Context, kek string, kid key.KID, wrapped []byte) (key.ContentKey, error) {
	s.opening <- struct{}{}
	<-s.goOn
	return s.Wrapper.Unwrap(ctx, kek, kid, wrapped)
}

// TestCacheDropWhileOpening: a key that is being opened while its rotation is
// dropped is handed out, and not kept.
func TestCacheDropWhileOpening(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	s := &slow{Wrapper: b.kms, opening: make(chan struct{}), goOn: make(chan struct{})}
	c := NewCache(b.ring(b.store, s), CacheOptions{})
	for name, drop := range map[string]func(){"Drop": func() { c.Drop("r1") }, "Close": c.Close} {
		done := make(chan error)
		go func() {
			_, err := c.Unwrap(t.Context(), kid, Verify, "r1")
			done <- err
		}()
		<-s.opening
		drop()
		s.goOn <- struct{}{}
		if err := <-done; err != nil {
			t.Errorf("%s: Unwrap: %v", name, err)
		}
		if n := len(c.kept); n != 0 {
			t.Errorf("%s: %d are kept, want none", name, n)
		}
	}
}

// TestCacheRace uses, drops and sweeps at once: every key that is handed out is
// the right one.
func TestCacheRace(t *testing.T) {
	b := newBench(t)
	b.opened("r2")
	kid, k := key.NewKID(), key.NewContentKey()
	b.mustImport(t, kid, k)
	c := NewCache(b.Ring, CacheOptions{Keys: 2})
	var running sync.WaitGroup
	for i := range 4 {
		running.Go(func() {
			for n := range 40 {
				r := fmt.Sprintf("r%d", (i+n)%2+1)
				if got, err := c.Unwrap(t.Context(), kid, Verify, r); err != nil || !got.Equal(k) {
					t.Errorf("Unwrap: %v, or another key", err)
				}
				if n%5 == i {
					c.Drop(r)
				}
				if n%10 == i {
					c.Sweep(t.Context(), func(context.Context, string) (bool, error) { return i == 0, nil })
				}
			}
		})
	}
	running.Wait()
	c.Close()
	if n := len(c.kept); n != 0 {
		t.Errorf("%d are kept after Close", n)
	}
}
