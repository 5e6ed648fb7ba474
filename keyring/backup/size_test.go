package backup

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

// live is the heap in use, all garbage gone.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestBoundedMemory writes and reads 100,000 entries and looks at the live heap
// all along.
func TestBoundedMemory(t *testing.T) {
	const entries, every, bound = 100_000, 10_000, 2 << 20
	f, err := os.Create(filepath.Join(t.TempDir(), "backup"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o, private := options(t, 2, 3)
	base, most := live(), uint64(0)
	look := func(i int) {
		if i%every == 0 {
			most = max(most, live()-min(live(), base))
		}
	}
	start := time.Now()
	w := bufio.NewWriter(f)
	made, err := Write(w, func(yield func(Entry, error) bool) {
		for i := range entries {
			look(i)
			kid := kidOf(i + 1)
			rec := fmt.Sprintf(`{"kid":"%s","state":"active","history":[{"actor":"someone","reason":"%0300d"}]}`, kid, i)
			if !yield(Entry{kid, key.NewContentKey(), json.RawMessage(rec)}, nil) {
				return
			}
		}
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	wrote := time.Since(start)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	h, err := ReadHeader(f)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{made: made, private: private}
	m, err := h.Combine(b.open(t, h, 1, 3))
	if err != nil {
		t.Fatal(err)
	}
	u, err := m.Unlock(b.code(t, created), created, never)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	n := 0
	for e, err := range u.Entries(f) {
		if err != nil {
			t.Fatal(err)
		}
		look(n)
		if n++; e.KID != kidOf(n) {
			t.Fatalf("entry %d has KID %s", n, e.KID)
		}
	}
	if n != entries {
		t.Errorf("%d entries", n)
	}
	t.Logf("%d entries, %d bytes: written in %v, read in %v; at most %d KiB live", n, made.Summary.Bytes, wrote, time.Since(start), most>>10)
	if most > bound {
		t.Errorf("%d bytes live, at most %d", most, bound)
	}
}
