package storetest_test

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/store/storetest"
)

func open(t *testing.T) store.Store {
	t.Helper()
	d, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// calls makes each call once and returns their errors in turn.
func calls(t *testing.T, s store.Store) []error {
	t.Helper()
	ctx := t.Context()
	_, put := s.Put(ctx, "k", []byte("0123456789"), store.PutOptions{})
	_, stat := s.Stat(ctx, "k")
	_, body, get := s.Get(ctx, "k", store.GetOptions{})
	if get == nil {
		_ = body.Close()
	}
	var list error
	for _, err := range s.List(ctx, "k") {
		list = err
	}
	return []error{put, stat, get, list, s.Delete(ctx, "k")}
}

func TestWithoutHooks(t *testing.T) {
	for i, err := range calls(t, &storetest.Faulty{Store: open(t)}) {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func TestHooks(t *testing.T) {
	errHook := errors.New("hook")
	var seen []string
	note := func(op, key string) error { seen = append(seen, op+" "+key); return errHook }
	want := []string{"put k", "stat k", "get k", "list k", "delete k"}

	s := open(t)
	for _, err := range calls(t, &storetest.Faulty{Store: s, Before: note}) {
		if e, ok := errors.AsType[*store.Error](err); !ok || e.Key != "k" || !errors.Is(err, errHook) {
			t.Errorf("before: %v", err)
		}
	}
	if _, err := s.Stat(t.Context(), "k"); !errors.Is(err, store.ErrNotFound) || !slices.Equal(seen, want) {
		t.Errorf("reached the store: %v; called for %q", err, seen)
	}
	seen = nil
	for i, err := range calls(t, &storetest.Faulty{Store: s, After: note}) {
		if isList := i == 3; isList == errors.Is(err, errHook) {
			t.Errorf("after: %s: %v", want[i], err)
		}
	}
	if want = slices.Delete(want, 3, 4); !slices.Equal(seen, want) {
		t.Errorf("called for %q", seen)
	}
}

func TestDamage(t *testing.T) {
	s := open(t)
	if _, err := s.Put(t.Context(), "k", []byte("0000000000"), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		truncate, flip int64
		want           string
	}{
		{-1, -1, "0000000000"}, {0, -1, ""}, {4, -1, "0000"}, {10, 9, "0000000001"}, {99, 0, "1000000000"}, {4, 4, "0000"}, {-1, 5, "0000010000"},
	} {
		f := &storetest.Faulty{
			Store:    s,
			Truncate: func(string) int64 { return c.truncate },
			Flip:     func(string) int64 { return c.flip },
		}
		info, body, err := f.Get(t.Context(), "k", store.GetOptions{})
		if err != nil || info.Size != 10 {
			t.Fatal(info, err)
		}
		var got []byte
		buf := make([]byte, 3) // several reads
		for err == nil {
			var n int
			n, err = body.Read(buf)
			got = append(got, buf[:n]...)
		}
		if string(got) != c.want || !errors.Is(err, io.EOF) || body.Close() != nil {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
}
