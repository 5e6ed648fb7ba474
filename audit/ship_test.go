package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

// hook is a receiver that gives these answers, then 200.
type hook struct {
	answers []int
	bodies  []string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	h.bodies = append(h.bodies, string(b))
	code := http.StatusOK
	if n := len(h.bodies); n <= len(h.answers) {
		code = h.answers[n-1]
	}
	if code == http.StatusFound {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(code)
}

func TestWebhookShipper(t *testing.T) {
	c := Checkpoint{Size: 1, Signed: []byte("signed")}
	tests := []struct {
		name    string
		answers []int
		tries   int
		good    bool
	}{
		{"at once", nil, 1, true},
		{"again", []int{503, 429}, 3, true},
		{"three times", []int{500, 500, 500}, 3, false},
		{"final", []int{403}, 1, false},
		{"redirect", []int{302}, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &hook{answers: tt.answers}
			s := httptest.NewServer(h)
			defer s.Close()
			err := WebhookShipper{URL: s.URL + "/secret-token", Client: s.Client(), Pause: time.Millisecond}.Ship(t.Context(), c)
			if (err == nil) != tt.good || len(h.bodies) != tt.tries {
				t.Errorf("%v after %d tries, want %d", err, len(h.bodies), tt.tries)
			}
			for _, b := range h.bodies {
				if b != "signed" {
					t.Errorf("posted %q", b)
				}
			}
			if err != nil && strings.Contains(err.Error(), "secret-token") {
				t.Errorf("%v shows the URL", err)
			}
		})
	}
	gone := httptest.NewServer(&hook{})
	gone.Close()
	for _, bad := range []string{gone.URL + "/secret-token", "ftp://host/secret-token", "secret-token", "http://h ost/secret-token"} {
		err := WebhookShipper{URL: bad, Pause: time.Millisecond}.Ship(t.Context(), c)
		if err == nil || strings.Contains(err.Error(), "secret-token") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (WebhookShipper{URL: gone.URL}).Ship(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}

// TestShip: every shipper gets every pass's newest checkpoint, again until it has
// it; one that fails keeps neither the tree nor the others back.
func TestShip(t *testing.T) {
	y := newYard(t, newMemory())
	file := filepath.Join(t.TempDir(), "held.jsonl")
	h := &hook{answers: []int{403}}
	srv := httptest.NewServer(h)
	defer srv.Close()
	elsewhere := newMemory()
	q := y.sequencer(y.store, WebhookShipper{URL: srv.URL}, FileShipper{Path: file}, StoreShipper{Store: elsewhere, Prefix: "held/"})
	l := New(y.store, y.clock, "alice")
	y.append(t, l, 1)
	f, err := q.Fold(t.Context())
	if !errors.Is(err, ErrShip) || f.Checkpoint.Size != 1 {
		t.Errorf("%v with %d entries, want ErrShip and 1", err, f.Checkpoint.Size)
	}
	y.fold(t, q)
	if len(h.bodies) != 2 || h.bodies[1] != string(f.Checkpoint.Signed) {
		t.Errorf("posted %q", h.bodies)
	}
	// A crash has cut the last line.
	cut, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cut.WriteString(`{"size":9,"check`); err != nil {
		t.Fatal(err)
	}
	if err := cut.Close(); err != nil {
		t.Fatal(err)
	}
	y.append(t, l, 2)
	y.fold(t, q)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	held, err := ParseHeld(b, y.signer.Verifier())
	if err != nil || len(held) != 2 || held[1].Size != 3 {
		t.Fatalf("held %v (%v)", held, err)
	}
	one, err := ParseHeld(y.read(t, latestName), y.signer.Verifier())
	if err != nil || len(one) != 1 || one[0].Root != held[1].Root {
		t.Errorf("held %v (%v)", one, err)
	}
	y.good(t, 3, 0, held...)
	if got := objects(t, elsewhere, "held/"); len(got) != 2 {
		t.Errorf("elsewhere: %v", got)
	}
	other := held[1]
	other.Signed = append([]byte("x"), other.Signed...)
	if err := (StoreShipper{Store: elsewhere, Prefix: "held/"}).Ship(t.Context(), other); !errors.Is(err, store.ErrPrecondition) {
		t.Errorf("a fork is kept over what is held: %v", err)
	}
}

func TestParseHeld(t *testing.T) {
	y, held := smallLog(t)
	good := held[0].Signed
	for name, b := range map[string][]byte{
		"empty":       nil,
		"text":        []byte("hello\n"),
		"no lines":    []byte("{\n{\n"),
		"other bytes": bytes.Replace(good, []byte("\n"), []byte(" \n"), 1),
		"bad line":    []byte(`{"size":1,"checkpoint":"x"}` + "\n"),
		"too large":   append(bytes.Repeat([]byte("x"), maxCheckpoint), good...),
	} {
		if got, err := ParseHeld(b, y.signer.Verifier()); !errors.Is(err, ErrCheckpoint) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte("audit.example\n12\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— audit.example AAAA\n"))
	f.Add([]byte(`{"size":12,"checkpoint":"audit.example\n12\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n"}`))
	f.Add([]byte("a\n-1\n\n\n\n"))
	signer, err := CreateSigner(filepath.Join(f.TempDir(), "k"), "audit.example")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseHeld(b, signer.Verifier()); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("%q: %v", b, err)
		}
		c, err := unsignedCheckpoint(b)
		if err != nil {
			if !errors.Is(err, ErrCheckpoint) {
				t.Fatalf("%v is of no class", err)
			}
			return
		}
		if !bytes.HasPrefix(b, []byte(c.text())) {
			t.Fatalf("%q reads as %q", b, c.text())
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"lease":{"owner":"a","until":"2026-03-01T08:30:00Z"},"listed":"2026-03-01T08:30:00Z","swept":"2026-03-01T08:30:00Z",` +
		`"streams":[{"stream":"20260301T083000Z-0123456789abcdef","next":0,"seen":"2026-03-01T08:30:00Z"}],"pending":["YQ=="]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		st, err := decodeState(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%v is of no class", err)
			}
			return
		}
		for _, c := range st.Streams {
			if c.Next <= maxSeq {
				if _, _, ok := parseName(objectName(c.Stream, c.Next)); !ok {
					t.Fatalf("cursor %+v leads to no name", c)
				}
			}
		}
	})
}

func FuzzBundle(f *testing.F) {
	f.Add(encodeBundle([][]byte{[]byte("a"), []byte("bcd")}))
	f.Add([]byte{0, 0})
	f.Add([]byte{0, 9, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := parseBundle("bundle", b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%v is of no class", err)
			}
			return
		}
		if !bytes.Equal(encodeBundle(entries), b) {
			t.Fatal("does not write as it read")
		}
	})
}
