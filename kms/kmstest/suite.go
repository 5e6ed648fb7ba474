package kmstest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// Provider is what the suite tests.
type Provider interface {
	ID() string
	Wrap(ctx context.Context, kid key.KID, k key.ContentKey) ([]byte, error)
	Unwrap(ctx context.Context, kid key.KID, wrapped []byte) (key.ContentKey, error)
}

// Run tests a provider. open opens the KEK called name, making it if it is not
// there; the suite asks for two names, and for one of them again.
func Run(t *testing.T, open func(t *testing.T, name string) Provider) {
	a, again, b := open(t, "a"), open(t, "a"), open(t, "b")
	t.Run("ID", func(t *testing.T) { testID(t, a, again, b) })
	t.Run("RoundTrip", func(t *testing.T) { testRoundTrip(t, a, again) })
	t.Run("Fresh", func(t *testing.T) { testFresh(t, a) })
	t.Run("OtherKID", func(t *testing.T) { testOtherKID(t, a) })
	t.Run("OtherKEK", func(t *testing.T) { testOtherKEK(t, a, b) })
	t.Run("Damaged", func(t *testing.T) { testDamaged(t, a) })
	t.Run("NoKey", func(t *testing.T) { testNoKey(t, a) })
	t.Run("Cancelled", func(t *testing.T) { testCancelled(t, a) })
	t.Run("Concurrent", func(t *testing.T) { testConcurrent(t, a) })
}

func mustWrap(t *testing.T, p Provider, kid key.KID, k key.ContentKey) []byte {
	t.Helper()
	w, err := p.Wrap(t.Context(), kid, k)
	if err != nil {
		t.Fatalf("Wrap: %v", err)
	}
	return w
}

func testID(t *testing.T, a, again, b Provider) {
	if a.ID() != again.ID() {
		t.Errorf("one KEK, two ids: %q and %q", a.ID(), again.ID())
	}
	if a.ID() == b.ID() {
		t.Errorf("two KEKs, one id: %q", a.ID())
	}
	// Ids go into authenticated contexts, records and logs, one to a line.
	if a.ID() == "" || strings.ContainsFunc(a.ID(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		t.Errorf("id %q is empty or not printable ASCII without spaces", a.ID())
	}
}

func testRoundTrip(t *testing.T, a, again Provider) {
	for range 32 {
		kid, k := key.NewKID(), key.NewContentKey()
		got, err := again.Unwrap(t.Context(), kid, mustWrap(t, a, kid, k))
		if err != nil {
			t.Fatalf("Unwrap: %v", err)
		}
		if !got.Equal(k) {
			t.Fatal("another key came back")
		}
	}
}

// testFresh: wrapping twice gives different bytes, and none of them shows the
// key.
func testFresh(t *testing.T, p Provider) {
	kid, k := key.NewKID(), key.NewContentKey()
	raw := k.RevealSecretBytes()
	seen := map[string]bool{}
	for range 64 {
		w := mustWrap(t, p, kid, k)
		if seen[string(w)] {
			t.Fatal("the same bytes twice")
		}
		seen[string(w)] = true
		for _, form := range spellings(raw) {
			if bytes.Contains(w, []byte(form)) {
				t.Fatal("wrapped bytes hold the key")
			}
		}
	}
}

func testOtherKID(t *testing.T, p Provider) {
	k := key.NewContentKey()
	kid := key.NewKID()
	w := mustWrap(t, p, kid, k)
	other := kid
	other[15] ^= 1
	for _, moved := range []key.KID{other, key.NewKID(), {}} {
		got, err := p.Unwrap(t.Context(), moved, w)
		checkRefused(t, "moved to another KID", k, got, err)
		if !errors.Is(err, kms.ErrMismatch) {
			t.Errorf("moved to another KID: %v, want ErrMismatch", err)
		}
	}
}

func testOtherKEK(t *testing.T, a, b Provider) {
	kid, k := key.NewKID(), key.NewContentKey()
	got, err := b.Unwrap(t.Context(), kid, mustWrap(t, a, kid, k))
	checkRefused(t, "shown to another KEK", k, got, err)
	if errors.Is(err, kms.ErrThrottled) || errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("shown to another KEK: %v, which passes with time", err)
	}
}

func testDamaged(t *testing.T, p Provider) {
	kid, k := key.NewKID(), key.NewContentKey()
	w := mustWrap(t, p, kid, k)
	for i := range 8 * len(w) {
		bad := bytes.Clone(w)
		bad[i/8] ^= 1 << (i % 8)
		got, err := p.Unwrap(t.Context(), kid, bad)
		checkRefused(t, fmt.Sprintf("bit %d flipped", i), k, got, err)
	}
	for n := range len(w) {
		got, err := p.Unwrap(t.Context(), kid, w[:n])
		checkRefused(t, fmt.Sprintf("cut to %d bytes", n), k, got, err)
	}
	got, err := p.Unwrap(t.Context(), kid, append(bytes.Clone(w), 0))
	checkRefused(t, "one byte longer", k, got, err)
}

func testNoKey(t *testing.T, p Provider) {
	if _, err := p.Wrap(t.Context(), key.NewKID(), key.ContentKey{}); err == nil {
		t.Error("wrapped a key that was never set")
	}
}

func testCancelled(t *testing.T, p Provider) {
	kid, k := key.NewKID(), key.NewContentKey()
	w := mustWrap(t, p, kid, k)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wrap(ctx, kid, k); !errors.Is(err, context.Canceled) {
		t.Errorf("Wrap: %v, want context.Canceled", err)
	}
	got, err := p.Unwrap(ctx, kid, w)
	checkRefused(t, "cancelled", k, got, err)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Unwrap: %v, want context.Canceled", err)
	}
}

func testConcurrent(t *testing.T, p Provider) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 8 {
				kid, k := key.NewKID(), key.NewContentKey()
				w, err := p.Wrap(t.Context(), kid, k)
				if err != nil {
					t.Errorf("Wrap: %v", err)
					return
				}
				if got, err := p.Unwrap(t.Context(), kid, w); err != nil || !got.Equal(k) {
					t.Errorf("Unwrap: another key, or %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// checkRefused wants an error that shows nothing of the key, and no key.
func checkRefused(t *testing.T, what string, k, got key.ContentKey, err error) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: unwrapped", what)
	}
	if !got.IsZero() {
		t.Errorf("%s: a key beside the error", what)
	}
	for _, form := range spellings(k.RevealSecretBytes()) {
		if strings.Contains(err.Error(), form) {
			t.Errorf("%s: the error shows the key", what)
		}
	}
}

// spellings are the ways a key could show itself.
func spellings(raw [16]byte) []string {
	h := hex.EncodeToString(raw[:])
	return []string{
		string(raw[:]), h, strings.ToUpper(h), fmt.Sprint(raw[:]),
		base64.RawStdEncoding.EncodeToString(raw[:]), base64.RawURLEncoding.EncodeToString(raw[:]),
	}
}
