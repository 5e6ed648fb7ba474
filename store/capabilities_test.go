package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/store/storetest"
)

// careless is a store that does not look at some conditions. It is no Versions.
type careless struct {
	store.Store
	create, match bool // these it ignores
}

func (c careless) Put(ctx context.Context, key string, body []byte, o store.PutOptions) (store.Info, error) {
	o.CreateOnly = o.CreateOnly && !c.create
	if c.match {
		o.IfMatch = ""
	}
	return c.Store.Put(ctx, key, body, o)
}

func TestProbeOfStoresThatLack(t *testing.T) {
	all := store.Capabilities{CreateOnly: true, IfMatch: true, DeletedIsGone: true, ControlCharacters: true}
	for name, c := range map[string]struct {
		s     careless
		lack  func(*store.Capabilities)
		lacks string
	}{
		"nothing":     {careless{}, func(*store.Capabilities) {}, ""},
		"create-only": {careless{create: true}, func(c *store.Capabilities) { c.CreateOnly = false }, "only creating"},
		"If-Match":    {careless{match: true}, func(c *store.Capabilities) { c.IfMatch, c.DeletedIsGone = false, false }, "changed meanwhile"},
	} {
		t.Run(name, func(t *testing.T) {
			want := all
			c.lack(&want)
			c.s.Store = openDir(t)
			got, err := store.Probe(t.Context(), c.s)
			if err != nil || got != want {
				t.Errorf("found %+v, %v, want %+v", got, err, want)
			}
			if err := got.Check(); errors.Is(err, store.ErrUnsupported) != (c.lacks != "") {
				t.Errorf("the check says %v", err)
			}
			if said := strings.Join(got.Lacks(), "\n"); !strings.Contains(said, c.lacks) || !strings.Contains(said, "CRC64NVME") {
				t.Errorf("it lacks %q", said)
			}
			if left := listed(t, c.s, ""); len(left) != 0 {
				t.Errorf("left are %q", left)
			}
		})
	}
	if said := (store.Capabilities{CreateOnly: true, IfMatch: true, DeletedIsGone: true, Checksum: true, Attributes: true,
		StorageClass: true, ControlCharacters: true, Uploads: true, UploadsByPrefix: true}).Lacks(); len(said) != 0 {
		t.Errorf("one that has all lacks %q", said)
	}
}

// A store that can't answer says nothing about what it can do.
func TestProbeThatFails(t *testing.T) {
	for _, class := range []error{store.ErrUnavailable, store.ErrDenied, store.ErrConflict} {
		for n := 1; ; n++ {
			s, calls := openDir(t), 0
			f := &storetest.Faulty{Store: s, Before: func(string, string) error {
				if calls++; calls == n {
					return class
				}
				return nil
			}}
			got, err := store.Probe(t.Context(), f)
			if calls < n {
				if err != nil || n < 8 {
					t.Errorf("%d calls, error %v", calls, err)
				}
				break
			}
			if !errors.Is(err, class) {
				t.Errorf("call %d failed with %v: found %+v, %v", n, class, got, err)
			}
		}
	}
}
