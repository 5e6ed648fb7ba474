package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/store/storetest"
)

// failing fails each put in turn with the given errors, then none.
func failing(errs ...error) func(op, key string) error {
	return func(op, _ string) error {
		if op != "put" || len(errs) == 0 {
			return nil
		}
		err := errs[0]
		errs = errs[1:]
		return err
	}
}

func TestPutOnceTriesAgain(t *testing.T) {
	three := []error{store.ErrUnavailable, store.ErrConflict, store.ErrUnavailable}
	six := append(slices.Clone(three), three...)
	for name, c := range map[string]struct {
		before, after func(op, key string) error
		want          error
		stands        bool
	}{
		"the store comes back":   {before: failing(three...), stands: true},
		"answers are lost":       {after: failing(three...), stands: true},
		"the store stays away":   {before: failing(six...), want: store.ErrUnavailable},
		"it is not allowed":      {before: failing(store.ErrDenied), want: store.ErrDenied},
		"an error of no class":   {before: failing(errors.New("disk full")), want: nil},
		"denied after it failed": {before: failing(store.ErrConflict, store.ErrDenied), want: store.ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openDir(t)
				f := &storetest.Faulty{Store: s, Before: c.before, After: c.after}
				began := time.Now()
				info, err := store.PutOnce(t.Context(), f, "k", []byte("once"), store.Attributes{})
				if c.stands != (err == nil) || (c.want != nil && !errors.Is(err, c.want)) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if c.stands && (info.Size != 4 || info.CRC64NVME != store.CRC64NVME([]byte("once"))) {
					t.Errorf("returned %+v", info)
				}
				if _, err := s.Stat(t.Context(), "k"); c.stands == errors.Is(err, store.ErrNotFound) {
					t.Errorf("stands: %v", err)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestPutOnceEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		f := &storetest.Faulty{Store: openDir(t), Before: func(string, string) error { return store.ErrUnavailable }}
		_, err := store.PutOnce(ctx, f, "k", nil, store.Attributes{})
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
	})
}

// What stands may go, or become another's, between the refusal and the look.
func TestPutOnceWhileOthersChangeIt(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, s store.Store)
		want   error
	}{
		"deleted": {change: func(t *testing.T, s store.Store) {
			if err := s.Delete(t.Context(), "k"); err != nil {
				t.Error(err)
			}
		}},
		"replaced": {want: store.ErrPrecondition, change: func(t *testing.T, s store.Store) {
			if _, err := s.Put(t.Context(), "k", []byte("them"), store.PutOptions{}); err != nil {
				t.Error(err)
			}
		}},
	} {
		for _, op := range []string{"stat", "get"} {
			t.Run(name+" before "+op, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := openDir(t)
					if _, err := s.Put(t.Context(), "k", []byte("once"), store.PutOptions{}); err != nil {
						t.Fatal(err)
					}
					done := false
					f := &storetest.Faulty{Store: s, Before: func(o, _ string) error {
						if o == op && !done {
							done = true
							c.change(t, s)
						}
						return nil
					}}
					_, err := store.PutOnce(t.Context(), f, "k", []byte("once"), store.Attributes{})
					if !done || !errors.Is(err, c.want) {
						t.Errorf("changed %v, error %v, want %v", done, err, c.want)
					}
				})
			})
		}
	}
}
