package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/store"
)

const rivals = 16

func createOnly(t *testing.T, s store.Store) {
	only := store.PutOptions{CreateOnly: true}
	for _, key := range []string{"one", "some/folder/one"} {
		if _, err := s.Put(t.Context(), key, []byte("first"), only); err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{"second", "first", ""} {
			_, err := s.Put(t.Context(), key, []byte(body), only)
			refuses(t, err, store.ErrPrecondition, "put", key)
		}
		holds(t, s, key, "first")
	}
}

func ifMatchGet(t *testing.T, s store.Store) {
	old := put(t, s, "k", "old")
	if b, _, err := store.ReadAll(t.Context(), s, "k", old.ETag, 100, nil); err != nil || string(b) != "old" {
		t.Errorf("read %q, %v", b, err)
	}
	put(t, s, "k", "new")
	for _, o := range []store.GetOptions{{IfMatch: old.ETag}, {IfMatch: old.ETag, Offset: 1, Length: 1}, {IfMatch: `"nonsense"`}} {
		_, _, err := s.Get(t.Context(), "k", o)
		refuses(t, err, store.ErrPrecondition, "get", "k")
	}
}

func ifMatchPut(t *testing.T, s store.Store) {
	first := put(t, s, "folder/k", "first")
	second, err := s.Put(t.Context(), "folder/k", []byte("second"), store.PutOptions{IfMatch: first.ETag})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Put(t.Context(), "folder/k", []byte("third"), store.PutOptions{IfMatch: first.ETag})
	refuses(t, err, store.ErrPrecondition, "put", "folder/k")
	holds(t, s, "folder/k", "second")
	if err := s.Delete(t.Context(), "folder/k"); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"folder/k", "no/folder"} {
		_, err = s.Put(t.Context(), key, []byte("fourth"), store.PutOptions{IfMatch: second.ETag})
		refuses(t, err, store.ErrPrecondition, "put", key)
	}
	if got := keys(t, s, ""); len(got) != 0 {
		t.Errorf("refused writes left %q", got)
	}
}

func bothConditions(t *testing.T, s store.Store) {
	info := put(t, s, "k", "old")
	if _, err := s.Put(t.Context(), "k", nil, store.PutOptions{CreateOnly: true, IfMatch: info.ETag}); err == nil {
		t.Error("both conditions were taken")
	}
	holds(t, s, "k", "old")
}

// etagChanges writes faster than clocks tick, with equal sizes.
func etagChanges(t *testing.T, s store.Store) {
	seen := map[string]bool{}
	for i := range 60 {
		etag := put(t, s, "k", fmt.Sprintf("%04d", i)).ETag
		if seen[etag] {
			t.Fatalf("write %d has the ETag %s of an earlier one", i, etag)
		}
		seen[etag] = true
	}
}

// race writes under one key from many goroutines at once and returns the body of
// the only one that succeeded. No two rounds on one key may share a body: S3's ETag
// is a digest of the bytes, so whoever writes again what stands there leaves it
// unchanged, and a second writer rightly succeeds.
func race(t *testing.T, s store.Store, key string, round int, o store.PutOptions) string {
	t.Helper()
	var wg sync.WaitGroup
	begin := make(chan struct{})
	errs := make([]error, rivals)
	for i := range rivals {
		wg.Go(func() {
			<-begin
			_, errs[i] = s.Put(t.Context(), key, rivalBody(round, i), o)
		})
	}
	close(begin)
	wg.Wait()
	winners, body := 0, ""
	for i, err := range errs {
		switch {
		case err == nil:
			winners, body = winners+1, string(rivalBody(round, i))
		case !errors.Is(err, store.ErrPrecondition) && !errors.Is(err, store.ErrConflict):
			t.Errorf("writer %d: %v", i, err)
		}
	}
	if winners != 1 {
		t.Fatalf("%d of %d writers succeeded, want 1", winners, rivals)
	}
	return body
}

// rivalBody is 64 KiB of one letter of the round, its own for every round and writer.
func rivalBody(round, i int) []byte {
	return bytes.Repeat([]byte{byte(round*rivals + i)}, 64<<10)
}

func raceCreate(t *testing.T, s store.Store) {
	for i := range 5 {
		key := fmt.Sprintf("new/folder/%d/k", i)
		holds(t, s, key, race(t, s, key, i, store.PutOptions{CreateOnly: true}))
		if got := keys(t, s, key); len(got) != 1 {
			t.Errorf("left are %q", got)
		}
	}
}

func raceReplace(t *testing.T, s store.Store) {
	etag := put(t, s, "k", "start").ETag
	for round := range 5 {
		body := race(t, s, "k", round, store.PutOptions{IfMatch: etag})
		holds(t, s, "k", body)
		info, err := s.Stat(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if info.ETag == etag {
			t.Fatal("ETag did not change")
		}
		etag = info.ETag
	}
}

// wholeReads reads while others write: each body must be one writer's, whole.
func wholeReads(t *testing.T, s store.Store) {
	put(t, s, "k", string(rivalBody(0, 0)))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				if _, err := s.Put(t.Context(), "k", rivalBody(0, i), store.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 10 {
				b, _, err := store.ReadAll(t.Context(), s, "k", "", 1<<20, nil)
				if err != nil {
					t.Error(err)
				} else if len(b) != 64<<10 || strings.Trim(string(b), string(b[:1])) != "" {
					t.Errorf("read a mixture of %d bytes", len(b))
				}
			}
		})
	}
	wg.Wait()
}
