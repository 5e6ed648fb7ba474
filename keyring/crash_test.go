package keyring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

var errDied = errors.New("the process died")

// dying is a store under a process that dies at its n-th call: nothing after it
// is done, and that one only if late is set.
type dying struct {
	store.Store
	mu   sync.Mutex
	left int
	late bool
	put  bool // the last call was one
}

// step reports whether the call is made, and whether its outcome is seen.
func (d *dying) step(put bool) (made, seen bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left--
	if d.left >= 0 {
		d.put = put
	}
	return d.left > 0 || d.left == 0 && d.late, d.left > 0
}

func (d *dying) died() (died, atPut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.left <= 0, d.put
}

func (d *dying) Put(ctx context.Context, name string, body []byte, o store.PutOptions) (info store.Info, err error) {
	made, seen := d.step(true)
	if made {
		info, err = d.Store.Put(ctx, name, body, o)
	}
	if !seen {
		return store.Info{}, errDied
	}
	return info, err
}

func (d *dying) Stat(ctx context.Context, name string) (store.Info, error) {
	if _, seen := d.step(false); !seen {
		return store.Info{}, errDied
	}
	return d.Store.Stat(ctx, name)
}

func (d *dying) Get(ctx context.Context, name string, o store.GetOptions) (store.Info, io.ReadCloser, error) {
	if _, seen := d.step(false); !seen {
		return store.Info{}, nil, errDied
	}
	return d.Store.Get(ctx, name, o)
}

func (d *dying) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	if _, seen := d.step(false); !seen {
		return func(yield func(store.Info, error) bool) { yield(store.Info{}, errDied) }
	}
	return d.Store.List(ctx, prefix)
}

// crashJob is something that may be broken off at any call of the store. Made
// anew it must come to the same end.
type crashJob struct {
	kid   key.KID
	k     key.ContentKey
	other string // a second KEK
	copy  Copy
}

var crashes = map[string]struct {
	before []State // that the key goes through first; nil: there is none yet
	do     func(ctx context.Context, r *Ring, j crashJob) error
	after  State
	uris   []string
}{
	"create": {nil, func(ctx context.Context, r *Ring, j crashJob) error {
		_, err := r.Create(ctx, j.kid, CreateOptions{URI: "a.key", Rotation: "r1", Key: j.k})
		return err
	}, Active, []string{"a.key"}},
	"import": {nil, func(ctx context.Context, r *Ring, j crashJob) error {
		_, err := r.Import(ctx, j.kid, j.k, ImportOptions{URI: "a.key"})
		return err
	}, Active, []string{"a.key"}},
	"compromise": {[]State{}, func(ctx context.Context, r *Ring, j crashJob) error {
		return r.SetState(ctx, j.kid, Compromised, "leaked")
	}, Compromised, nil},
	"destroy": {[]State{Deactivated}, func(ctx context.Context, r *Ring, j crashJob) error {
		return r.Destroy(ctx, j.kid, "purged")
	}, Destroyed, nil},
	"import with URI": {[]State{Compromised}, func(ctx context.Context, r *Ring, j crashJob) error {
		_, err := r.Import(ctx, j.kid, j.k, ImportOptions{URI: "a.key"})
		return err
	}, Compromised, []string{"a.key"}},
	"add URI": {[]State{Suspended}, func(ctx context.Context, r *Ring, j crashJob) error {
		return errors.Join(r.AddURI(ctx, j.kid, "a.key"), r.AddURI(ctx, j.kid, "b.key"))
	}, Suspended, []string{"a.key", "b.key"}},
	"rotate KEK": {[]State{Suspended}, func(ctx context.Context, r *Ring, j crashJob) error {
		if err := r.UseKEK(ctx, j.other, "test"); err != nil {
			return err
		}
		_, err := r.RewrapAll(ctx, "test", nil)
		return err
	}, Suspended, nil},
	"import again": {[]State{Compromised}, func(ctx context.Context, r *Ring, j crashJob) error {
		_, err := r.Import(ctx, j.kid, j.k, ImportOptions{})
		return err
	}, Compromised, nil},
	"restore": {[]State{Deactivated, Compromised}, func(ctx context.Context, r *Ring, j crashJob) error {
		_, err := r.Restore(ctx, j.copy, "test")
		return err
	}, Compromised, nil},
}

// TestCrashBetweenAnchorAndRecord breaks each operation off at each call of the
// store, with that call done or not. What is left is whole: every record reads,
// its state is the one before or the one wanted, its key opens. Made again, the
// operation comes to its end.
func TestCrashBetweenAnchorAndRecord(t *testing.T) {
	for name := range crashes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			for died, put := true, false; died; {
				if died, put = crashAt(t, name, calls+1, false); died {
					calls++
				}
				if put {
					crashAt(t, name, calls, true)
				}
			}
			if calls < 4 {
				t.Errorf("broken off at %d calls of the store; there are more", calls)
			}
		})
	}
}

func crashAt(t *testing.T, name string, n int, late bool) (died, atPut bool) {
	t.Helper()
	c := crashes[name]
	b := newBench(t)
	j := crashJob{kid: key.NewKID(), k: key.NewContentKey(), other: b.anotherKEK(t)}
	before := State("") // none
	if c.before != nil {
		b.mustImport(t, j.kid, j.k)
		before = Active
		for _, s := range c.before {
			b.mustSet(t, j.kid, s)
			before = s
		}
	}
	switch name {
	case "restore":
		j.copy = b.copyOf(t, j.kid)
		b.forget(t, objectName(j.kid))
		b.forget(t, anchorName(j.kid, 3))
		before = ""
	case "import again":
		b.forget(t, objectName(j.kid))
		before = ""
	}
	d := &dying{Store: b.store.Store, left: n, late: late}
	o := b.o
	o.Store = d
	o.Log = b.logOver(d)
	err := c.do(t.Context(), New(o), j)
	died, atPut = d.died()
	at := fmt.Sprintf("call %d (done: %v)", n, late)
	if died && err == nil && !late {
		t.Errorf("%s: it was broken off, and no error", at)
	}
	fresh := New(b.o) // another process: it shares nothing but the store
	b.Ring = fresh.AsWorker()
	b.checkWhole(t, at, j, before, c.after)
	if err := c.do(t.Context(), b.Ring, j); err != nil {
		t.Fatalf("%s: made again: %v", at, err)
	}
	b.checkWhole(t, at, j, c.after, c.after)
	for _, uri := range c.uris {
		b.wantKID(t, uri, j.kid, true)
	}
	if rec, err := b.Get(t.Context(), j.kid); err != nil || rec.State != c.after {
		t.Errorf("%s: made again, the key is %s, %v; want %s", at, rec.State, err, c.after)
	} else if name == "rotate KEK" && rec.KEK != j.other {
		t.Errorf("%s: made again, the key is under %s", at, rec.KEK)
	}
	return died, died && atPut
}

// checkWhole: the ring lists, and the key is in one of two states and opens.
func (b *bench) checkWhole(t *testing.T, at string, j crashJob, one, other State) {
	t.Helper()
	for _, err := range b.List(t.Context()) {
		if err != nil {
			t.Errorf("%s: List: %v", at, err)
		}
	}
	rec, err := b.Get(t.Context(), j.kid)
	if errors.Is(err, ErrNotFound) && one == "" {
		return
	}
	if err != nil || rec.State != one && rec.State != other {
		t.Fatalf("%s: %s, %v; want %q or %s", at, rec.State, err, one, other)
	}
	if rec.State == Destroyed {
		if len(rec.Wrapped) != 0 {
			t.Errorf("%s: destroyed, and there is a wrapped key", at)
		}
		return
	}
	if k, err := b.Unwrap(t.Context(), j.kid, DecryptRekey, "r1"); err != nil || !k.Equal(j.k) {
		t.Errorf("%s: the key does not open (%v), or is another", at, err)
	}
}

// TestUncertainStore: each write that is done, and said not to be known, is found
// done, once.
func TestUncertainStore(t *testing.T) {
	b := newBench(t)
	unsure := &uncertain{Store: b.store.Store}
	o := b.o
	o.Store = unsure
	o.Log = b.logOver(b.store.Store)
	r := New(o).AsWorker()
	kid, k := key.NewKID(), key.NewContentKey()
	if _, err := r.Import(t.Context(), kid, k, ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []State{Suspended, Active, Deactivated, Compromised} {
		if err := r.SetState(t.Context(), kid, s, "test"); err != nil {
			t.Fatalf("to %s: %v", s, err)
		}
	}
	if err := r.UseKEK(t.Context(), b.anotherKEK(t), ""); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("UseKEK: %v, want the store's error", err)
	}
	if n, err := r.RewrapAll(t.Context(), "", nil); err != nil || n.Keys != 1 || n.Secrets != 1 {
		t.Errorf("RewrapAll: %+v, %v", n, err)
	}
	rec, err := b.Get(t.Context(), kid)
	if err != nil || rec.State != Compromised || len(rec.History) != 5 || rec.KEK == b.kek {
		t.Errorf("%+v, %v; want 5 events", rec, err)
	}
	if unsure.count < 9 {
		t.Errorf("%d writes were uncertain", unsure.count)
	}
}

// uncertain does each write of an object once and says that it does not know.
type uncertain struct {
	store.Store
	mu    sync.Mutex
	told  map[string]int
	count int
}

func (u *uncertain) Put(ctx context.Context, name string, body []byte, o store.PutOptions) (store.Info, error) {
	info, err := u.Store.Put(ctx, name, body, o)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.told == nil {
		u.told = map[string]int{}
	}
	u.told[name]++
	if err == nil && u.told[name]%2 == 1 {
		u.count++
		return store.Info{}, &store.Error{Op: "put", Key: name, Err: store.ErrUnavailable}
	}
	return info, err
}
