package storetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

func readAll(t *testing.T, s store.Store) {
	put(t, s, "k", "0123456789")
	pooled := make([]byte, 0, 64)
	b, info, err := store.ReadAll(t.Context(), s, "k", "", 10, pooled)
	if err != nil || string(b) != "0123456789" || info.Size != 10 {
		t.Fatalf("read %q, %+v, %v", b, info, err)
	}
	if &b[0] != &pooled[:1][0] {
		t.Error("the buffer was not used")
	}
	if b, _, err := store.ReadAll(t.Context(), s, "k", info.ETag, 10, make([]byte, 3)); err != nil || string(b) != "0123456789" {
		t.Errorf("read %q into a small buffer, %v", b, err)
	}
	if _, _, err := store.ReadAll(t.Context(), s, "k", "", 9, nil); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	for _, cut := range []int64{0, 1, 9} {
		f := &Faulty{Store: s, Truncate: func(string) int64 { return cut }}
		_, _, err := store.ReadAll(t.Context(), f, "k", "", 10, nil)
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, store.ErrTruncated) {
			t.Errorf("cut after %d bytes: %v", cut, err)
		}
	}
	f := &Faulty{Store: s, Flip: func(string) int64 { return 7 }}
	b, info, err = store.ReadAll(t.Context(), f, "k", "", 10, nil)
	switch {
	case info.CRC64NVME == "":
		if err != nil || string(b) != "0123456689" {
			t.Errorf("read %q, %v", b, err)
		}
	case !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, store.ErrChecksum):
		t.Errorf("damaged: %v", err)
	}
}

func putOnce(t *testing.T, s store.Store) {
	body := []byte("once")
	first, err := store.PutOnce(t.Context(), s, "folder/k", body, store.Attributes{ContentType: "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		again, err := store.PutOnce(t.Context(), s, "folder/k", body, store.Attributes{})
		if err != nil || again.ETag != first.ETag || again.CRC64NVME != store.CRC64NVME(body) || again.Size != first.Size {
			t.Errorf("again: %+v, %v; first %+v", again, err, first)
		}
	}
	for _, other := range []string{"ecno", "twice", ""} {
		_, err := store.PutOnce(t.Context(), s, "folder/k", []byte(other), store.Attributes{})
		refuses(t, err, store.ErrPrecondition, "put", "folder/k")
	}
	holds(t, s, "folder/k", "once")

	var wg sync.WaitGroup
	for range rivals {
		wg.Go(func() {
			if _, err := store.PutOnce(t.Context(), s, "raced", body, store.Attributes{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	holds(t, s, "raced", "once")
}

func cancelled(t *testing.T, s store.Store) {
	put(t, s, "k", strings.Repeat("x", 4<<20))
	ctx, cancel := context.WithCancel(t.Context())
	_, body, err := s.Get(ctx, "k", store.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	cancel()
	// What the client had already taken in may still come.
	buf := make([]byte, 64<<10)
	for err == nil {
		_, err = body.Read(buf)
	}
	refuses(t, err, context.Canceled, "get", "k")
	allRefuse(t, ctx, s, context.Canceled)

	late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	allRefuse(t, late, s, context.DeadlineExceeded)
	holds(t, s, "k", strings.Repeat("x", 4<<20))
}

func allRefuse(t *testing.T, ctx context.Context, s store.Store, class error) {
	t.Helper()
	_, err := s.Stat(ctx, "k")
	refuses(t, err, class, "stat", "k")
	_, _, err = s.Get(ctx, "k", store.GetOptions{})
	refuses(t, err, class, "get", "k")
	for _, o := range []store.PutOptions{{}, {CreateOnly: true}, {IfMatch: `"x"`}} {
		_, err = s.Put(ctx, "k", nil, o)
		refuses(t, err, class, "put", "k")
	}
	_, err = store.PutOnce(ctx, s, "k", nil, store.Attributes{})
	refuses(t, err, class, "put", "k")
	refuses(t, s.Delete(ctx, "k"), class, "delete", "k")
	for _, err := range s.List(ctx, "") {
		refuses(t, err, class, "list", "")
	}
}
