package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/seed-6133abe0/rekey/store"
)

// Target is a store to hold to its contract.
type Target struct {
	// Open gives an empty store.
	Open func(t *testing.T) store.Store
	// OpenVersioned gives an empty one that keeps versions; nil where there is none.
	OpenVersioned func(t *testing.T) store.Store
	// OpenPaged gives an empty one that keeps versions and lists a few entries a
	// page; nil where OpenVersioned is.
	OpenPaged func(t *testing.T) store.Store
	// Capabilities are what Probe must find; on what keeps versions, also that
	// the conditions of writes see its markers, unless MarkersUnseen.
	Capabilities  store.Capabilities
	MarkersUnseen bool
	// MaxKey is the longest key in bytes.
	MaxKey int
}

type namedTest struct {
	name string
	test func(*testing.T, store.Store)
}

// contract is what every store keeps.
func contract() []namedTest {
	return []namedTest{
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
		{"one version", oneVersion},
	}
}

// Run holds a store to the contract of package store. Each subtest has an empty
// one.
func Run(t *testing.T, target Target) {
	t.Helper()
	can := target.Capabilities
	t.Run("capabilities", func(t *testing.T) { probes(t, target.Open(t), can) })
	suite := append(contract(),
		namedTest{"attributes", func(t *testing.T, s store.Store) { attributes(t, s, can) }},
		namedTest{"checksums", func(t *testing.T, s store.Store) { checksums(t, s, can) }},
		namedTest{"the longest key", func(t *testing.T, s store.Store) { longestKey(t, s, target.MaxKey) }},
		namedTest{"control characters", func(t *testing.T, s store.Store) { controlCharacters(t, s, can) }},
	)
	if can.Uploads {
		suite = append(suite,
			namedTest{"an upload", func(t *testing.T, s store.Store) { uploaded(t, s, can) }},
			namedTest{"conditions of uploads", uploadConditions},
			namedTest{"uploads race", raceComplete},
			namedTest{"uploads aborted", func(t *testing.T, s store.Store) { abortedUploads(t, s, can) }},
		)
	}
	for _, s := range suite {
		t.Run(s.name, func(t *testing.T) { s.test(t, target.Open(t)) })
	}
	if target.OpenVersioned == nil {
		return
	}
	can.KeepsVersions, can.DeletedIsGone = true, !target.MarkersUnseen
	t.Run("versioned", func(t *testing.T) {
		t.Run("capabilities", func(t *testing.T) { probes(t, target.OpenVersioned(t), can) })
		for _, s := range []namedTest{
			{"all versions", func(t *testing.T, s store.Store) { allVersions(t, s, can) }},
			{"a version being read", readVersioned},
			{"creators race", raceCreate},
			{"If-Match writers race", raceReplace},
			{"PutOnce", putOnce},
		} {
			t.Run(s.name, func(t *testing.T) { s.test(t, target.OpenVersioned(t)) })
		}
	})
	t.Run("paged", func(t *testing.T) {
		for _, s := range []namedTest{
			{"versions", manyVersions},
			{"listing", listing},
			{"parts", manyParts},
			{"uploads", func(t *testing.T, s store.Store) { manyUploads(t, s, can) }},
		} {
			t.Run(s.name, func(t *testing.T) { s.test(t, target.OpenPaged(t)) })
		}
	})
}

// probes checks what Probe finds, and that it leaves nothing.
func probes(t *testing.T, s store.Store, want store.Capabilities) {
	put(t, s, "k", "stays")
	got, err := store.Probe(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("found %+v, want %+v", got, want)
	}
	if err := got.Check(); errors.Is(err, store.ErrUnsupported) == want.DeletedIsGone {
		t.Errorf("the check says %v", err)
	}
	if left := versions(t, versioned(t, s), ""); len(left) != 1 {
		t.Errorf("left are %+v", left)
	}
	holds(t, s, "k", "stays")
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
