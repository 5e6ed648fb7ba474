package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

var start = time.Date(2026, 3, 1, 9, 30, 0, 123456789, time.FixedZone("east", 3600))

// steps is a clock that moves on by d at every look.
func steps(d time.Duration) func() time.Time {
	var mu sync.Mutex
	now := start
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
		return now
	}
}

func openDir(t *testing.T) (*store.Dir, string) {
	t.Helper()
	path := t.TempDir()
	d, err := store.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return d, path
}

// names lists the objects of all streams.
func names(t *testing.T, s store.Reader) []string {
	t.Helper()
	var out []string
	for _, prefix := range []string{headsPrefix, recordsPrefix} {
		for info, err := range s.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, info.Key)
		}
	}
	return out
}

func TestAppendAndRead(t *testing.T) {
	s, _ := openDir(t)
	l := New(s, steps(time.Second), "alice")
	want := []Record{
		{Action: KeyImport, KID: "00", Outcome: Allowed, Reason: "first \u2028 <line>\nsecond"},
		{Action: KeyUnwrap, KID: "01", Rotation: "r1", Outcome: Allowed, Actor: "worker"},
		{Action: MediaPublish, Asset: "movie", Client: "192.0.2.7", Outcome: Failed},
	}
	for _, r := range want {
		if err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for got, err := range Read(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		w := want[i]
		w.Time, w.Host = start.Add(time.Duration(i+1)*time.Second).UTC(), host
		if w.Actor == "" {
			w.Actor = "alice"
		}
		if got != w {
			t.Errorf("record %d: %+v, want %+v", i, got, w)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d records, want %d", i, len(want))
	}
	all := names(t, s)
	if !strings.HasPrefix(all[0], "audit/heads/20260301T08/20260301T083001Z-") || len(all) != len(want) {
		t.Errorf("names %q do not begin with the time in UTC", all)
	}
	for i, name := range all[1:] {
		if _, seq, ok := parseName(name); !ok || seq != int64(i+1) {
			t.Errorf("name %s has number %d, want %d", name, seq, i+1)
		}
	}
}

// TestAppendSameInstant: records of one instant stand beside each other.
func TestAppendSameInstant(t *testing.T) {
	s, _ := openDir(t)
	l := New(s, steps(0), "alice")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 8 {
				if err := l.Append(t.Context(), Record{Action: KeyUnwrap, Outcome: Allowed}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(names(t, s)); n != 64 {
		t.Errorf("%d records, want 64", n)
	}
}

// TestStreamsSortByTime: streams sort by when they began, entries by number.
func TestStreamsSortByTime(t *testing.T) {
	var made []string
	for _, d := range []time.Duration{0, time.Second, time.Minute, 1000 * time.Hour, 100000 * time.Hour} {
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(d)
		id := newStream(at)
		if began, ok := streamBegan(id); !ok || !began.Equal(at) {
			t.Errorf("%s does not read as %s", id, at)
		}
		made = append(made, objectName(id, 0))
	}
	if !slices.IsSorted(made) {
		t.Errorf("not in order: %q", made)
	}
	id, last := newStream(start), ""
	for _, seq := range []int64{1, 2, 9, 10, 99, 100, maxSeq} {
		name := objectName(id, seq)
		stream, n, ok := parseName(name)
		if !ok || stream != id || n != seq || name <= last {
			t.Errorf("%s reads as %s %d %v, after %s", name, stream, n, ok, last)
		}
		last = name
	}
}

func TestAppendInvalid(t *testing.T) {
	tests := []struct {
		name  string
		r     Record
		actor string
		now   time.Time
	}{
		{"no action", Record{Outcome: Allowed}, "alice", start},
		{"no outcome", Record{Action: KeyUnwrap}, "alice", start},
		{"no actor", Record{Action: KeyUnwrap, Outcome: Allowed}, "", start},
		{"no time", Record{Action: KeyUnwrap, Outcome: Allowed}, "alice", time.Time{}},
		{"too large", Record{Action: KeyUnwrap, Outcome: Allowed, Reason: strings.Repeat("x", maxEntry)}, "alice", start},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := openDir(t)
			l := New(s, func() time.Time { return tt.now }, tt.actor)
			if err := l.Append(t.Context(), tt.r); !errors.Is(err, ErrInvalid) {
				t.Errorf("Append: %v, want ErrInvalid", err)
			}
			if n := len(names(t, s)); n != 0 {
				t.Errorf("%d records stand, want none", n)
			}
		})
	}
}

func TestAppendCancelled(t *testing.T) {
	s, _ := openDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := New(s, steps(1), "alice").Append(ctx, Record{Action: KeyUnwrap, Outcome: Allowed})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Append: %v, want context.Canceled", err)
	}
}

// TestReadCorrupt: a bad record is an error that names it, and the walk goes on.
func TestReadCorrupt(t *testing.T) {
	good := entry{Stream: newStream(start), Record: &Record{Time: start.UTC(), Actor: "a", Action: KeyState, Outcome: Allowed}}
	body, err := good.encode()
	if err != nil {
		t.Fatal(err)
	}
	name := objectName(good.Stream, 0)
	other := newStream(start.Add(time.Second))
	tests := []struct {
		what, name, body string
		offset           int64
	}{
		{"no JSON", name, "hello", 1},
		{"empty", name, "", 0},
		{"cut", name, string(body[:20]), 20},
		{"unknown member", name, strings.Replace(string(body), `"actor"`, `"actress"`, 1), -1},
		{"member twice", name, strings.Replace(string(body), `"seq"`, `"stream":"x","seq"`, 1), 54},
		{"two values", name, string(body) + "{}", int64(len(body)) + 1},
		{"no action", name, strings.Replace(string(body), KeyState, "", 1), -1},
		{"another stream", objectName(other, 0), string(body), -1},
		{"another time", name, strings.Replace(string(body), `"2026-`, `"2027-`, 1), -1},
		{"another name", headsPrefix + "notes.json", string(body), -1},
		{"no random part", headsPrefix + "20260301T08/20260301T083000Z-zz.json", string(body), -1},
		{"hash without a record before", name, strings.Replace(string(body), `"record"`, `"prev":"00","record"`, 1), -1},
		{"begins with its end", name, `{"stream":"` + good.Stream + `","seq":0,"closed":true}`, -1},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			s, root := openDir(t)
			l := New(s, func() time.Time { return start }, "alice")
			if err := l.Append(t.Context(), Record{Action: KeyState, Outcome: Allowed}); err != nil {
				t.Fatal(err)
			}
			writeFile(t, root, tt.name, []byte(tt.body))
			records, bad := 0, 0
			for _, err := range Read(t.Context(), s) {
				if err == nil {
					records++
					continue
				}
				bad++
				var e *Error
				if !errors.As(err, &e) || !errors.Is(err, ErrCorrupt) || e.Object != tt.name {
					t.Fatalf("%v, want ErrCorrupt in %s", err, tt.name)
				}
				if e.Offset != tt.offset {
					t.Errorf("%v: offset %d, want %d", err, e.Offset, tt.offset)
				}
			}
			if records != 1 || bad != 1 {
				t.Errorf("%d records and %d errors, want 1 and 1", records, bad)
			}
		})
	}
}

func writeFile(t *testing.T, root, name string, body []byte) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadStops(t *testing.T) {
	s, _ := openDir(t)
	l := New(s, steps(1), "alice")
	for range 3 {
		if err := l.Append(t.Context(), Record{Action: KeyState, Outcome: Allowed}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, err := range Read(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d records after the first break", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	d, err := store.OpenDir(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for name, s := range map[string]store.Store{"dir": d, "memory": newMemory()} {
		b.Run(name, func(b *testing.B) {
			l := New(s, time.Now, "alice")
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := l.Append(b.Context(), Record{Action: KeyUnwrap, Outcome: Allowed}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func FuzzEntry(f *testing.F) {
	stream := newStream(start)
	good, err := entry{Stream: stream, Record: &Record{Time: start.UTC(), Actor: "a", Host: "h", Action: KeyState, KID: "00", StateVersion: 2, Outcome: Allowed, Reason: "r"}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	end, err := entry{Stream: stream, Seq: 1, Prev: digest(good), Closed: true}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:40])
	f.Add(end)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry("name", b)
		if err != nil {
			var at *Error
			if !errors.As(err, &at) || !errors.Is(err, ErrCorrupt) || at.Object != "name" {
				t.Fatalf("%v is no *Error of class ErrCorrupt", err)
			}
			return
		}
		name := objectName(e.Stream, e.Seq)
		if stream, seq, ok := parseName(name); !ok || stream != e.Stream || seq != e.Seq {
			t.Fatalf("%s reads as %s %d %v", name, stream, seq, ok)
		}
		again, err := e.encode()
		if err != nil {
			return // escapes may make it longer than a record may be
		}
		if _, err := decodeObject(name, again); err != nil {
			t.Fatalf("does not read again: %v", err)
		}
	})
}
