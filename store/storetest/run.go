package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/seed-6133abe0/rekey/store"
)

// Caps is what a store can do beyond the contract.
type Caps struct {
	// Attributes: it gives back what Put was given.
	Attributes bool
	// Checksum: Stat and Get know CRC64NVME.
	Checksum bool
}

// Run holds a store to the contract of package store. open gives each subtest an
// empty one.
func Run(t *testing.T, open func(t *testing.T) store.Store, caps Caps) {
	t.Helper()
	suite := []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"what is put is got", putGet},
		{"an empty object", emptyObject},
		{"ranges", ranges},
		{"a missing object", missing},
		{"create only", createOnly},
		{"If-Match reads", ifMatchGet},
		{"If-Match writes", ifMatchPut},
		{"both conditions at once", bothConditions},
		{"every write changes the ETag", etagChanges},
		{"creators race", raceCreate},
		{"If-Match writers race", raceReplace},
		{"readers see whole objects", wholeReads},
		{"odd keys", oddKeys},
		{"keys that lead out", refusedKeys},
		{"listing", listing},
		{"listing a lot", listingMany},
		{"a listing broken off", listingBrokenOff},
		{"delete", deletes},
		{"ReadAll", readAll},
		{"PutOnce", putOnce},
		{"cancelled contexts", cancelled},
	}
	for _, s := range suite {
		t.Run(s.name, func(t *testing.T) { s.test(t, open(t)) })
	}
	if caps.Attributes {
		t.Run("attributes", func(t *testing.T) { attributes(t, open(t)) })
	}
	if caps.Checksum {
		t.Run("checksums", func(t *testing.T) { checksums(t, open(t)) })
	}
}

// put stores an object on any condition and returns what Put says of it.
func put(t *testing.T, s store.Store, key, body string) store.Info {
	t.Helper()
	info, err := s.Put(t.Context(), key, []byte(body), store.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// holds checks that the object has that body.
func holds(t *testing.T, s store.Store, key, want string) {
	t.Helper()
	info, body, err := s.Get(t.Context(), key, store.GetOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	got, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(got, []byte(want)) || info.Size != int64(len(want)) || info.Key != key {
		t.Errorf("%q holds %.40q (size %d, key %q), want %.40q", key, got, info.Size, info.Key, want)
	}
}

// refuses checks an error's class, that it has no other one, and that it names
// operation and key.
func refuses(t *testing.T, err error, class error, op, key string) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("%s %.40q: error %v, want class %q", op, key, err, class)
		return
	}
	for _, other := range []error{
		store.ErrNotFound, store.ErrPrecondition, store.ErrConflict, store.ErrDenied, store.ErrInvalidKey,
		store.ErrInvalidRange, store.ErrArchived, store.ErrUnavailable, context.Canceled, context.DeadlineExceeded,
	} {
		if !errors.Is(other, class) && errors.Is(err, other) {
			t.Errorf("%s %.40q: error %v is also of class %q", op, key, err, other)
		}
	}
	if e, ok := errors.AsType[*store.Error](err); !ok || e.Op != op || e.Key != key {
		t.Errorf("error %v does not name %s %.40q", err, op, key)
	}
}

// keys lists and checks the order.
func keys(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	var got []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		if len(got) > 0 && got[len(got)-1] >= info.Key {
			t.Errorf("list %q: %q comes after %q", prefix, info.Key, got[len(got)-1])
		}
		got = append(got, info.Key)
	}
	return got
}
