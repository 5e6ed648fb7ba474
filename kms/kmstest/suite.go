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
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// Target is what the suite tests.
type Target struct {
	// Open connects to the service; each call gives another client of the same
	// one.
	Open func(t *testing.T) kms.Provider
	// Later moves the service's clock. Nil: it cannot be moved, and what happens
	// when a destruction falls due is not tested.
	Later func(d time.Duration)
}

// kek is one KEK seen through one client.
type kek struct {
	kms.Provider
	id string
}

func (k kek) wrap(ctx context.Context, kid key.KID, c key.ContentKey) ([]byte, error) {
	return k.Wrap(ctx, k.id, kid, c)
}

func (k kek) unwrap(ctx context.Context, kid key.KID, w []byte) (key.ContentKey, error) {
	return k.Unwrap(ctx, k.id, kid, w)
}

// Run tests a provider whose service has no KEKs called suite-….
func Run(t *testing.T, target Target) {
	p, other := target.Open(t), target.Open(t)
	a, b := mustCreate(t, p, "suite-a"), mustCreate(t, p, "suite-b")
	again := kek{other, a.id}
	t.Run("ID", func(t *testing.T) { testID(t, a, b) })
	t.Run("RoundTrip", func(t *testing.T) { testRoundTrip(t, a, again) })
	t.Run("Fresh", func(t *testing.T) { testFresh(t, a) })
	t.Run("OtherKID", func(t *testing.T) { testOtherKID(t, a) })
	t.Run("OtherKEK", func(t *testing.T) { testOtherKEK(t, a, b) })
	t.Run("Damaged", func(t *testing.T) { testDamaged(t, a) })
	t.Run("NoKey", func(t *testing.T) { testNoKey(t, a) })
	t.Run("Cancelled", func(t *testing.T) { testCancelled(t, a) })
	t.Run("Concurrent", func(t *testing.T) { testConcurrent(t, a) })
	t.Run("Taken", func(t *testing.T) { testTaken(t, p, other) })
	t.Run("BadName", func(t *testing.T) { testBadName(t, p) })
	t.Run("Unknown", func(t *testing.T) { testUnknown(t, a) })
	t.Run("Describe", func(t *testing.T) { testDescribe(t, again) })
	t.Run("Disable", func(t *testing.T) { testDisable(t, a, again, b) })
	t.Run("Destruction", func(t *testing.T) { testDestruction(t, mustCreate(t, p, "suite-c"), other, target.Later) })
}

func mustCreate(t *testing.T, p kms.Provider, name string) kek {
	t.Helper()
	id, err := p.Create(t.Context(), name)
	if err != nil {
		t.Fatalf("Create %s: %v", name, err)
	}
	return kek{p, id}
}

func mustWrap(t *testing.T, k kek, kid key.KID, c key.ContentKey) []byte {
	t.Helper()
	w, err := k.wrap(t.Context(), kid, c)
	if err != nil {
		t.Fatalf("Wrap: %v", err)
	}
	return w
}

func testID(t *testing.T, a, b kek) {
	if a.id == b.id {
		t.Errorf("two KEKs, one id: %q", a.id)
	}
	// Ids go into authenticated contexts, records and logs, one to a line.
	for _, id := range []string{a.id, b.id} {
		if kms.Scheme(id) == "" || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("id %q has no scheme or is not printable ASCII without spaces", id)
		}
	}
}

func testRoundTrip(t *testing.T, a, again kek) {
	for range 16 {
		kid, k := key.NewKID(), key.NewContentKey()
		got, err := again.unwrap(t.Context(), kid, mustWrap(t, a, kid, k))
		if err != nil {
			t.Fatalf("Unwrap: %v", err)
		}
		if !got.Equal(k) {
			t.Fatal("another key came back")
		}
	}
}

// testFresh: wrapping twice gives different bytes, none of them shows the key,
// and they fit a record.
func testFresh(t *testing.T, a kek) {
	kid, k := key.NewKID(), key.NewContentKey()
	raw := k.RevealSecretBytes()
	seen := map[string]bool{}
	for range 32 {
		w := mustWrap(t, a, kid, k)
		if seen[string(w)] {
			t.Fatal("the same bytes twice")
		}
		seen[string(w)] = true
		if len(w) > 4<<10 {
			t.Fatalf("%d bytes, at most 4 KiB", len(w))
		}
		for _, form := range spellings(raw) {
			if bytes.Contains(w, []byte(form)) {
				t.Fatal("wrapped bytes hold the key")
			}
		}
	}
}

func testOtherKID(t *testing.T, a kek) {
	k := key.NewContentKey()
	kid := key.NewKID()
	w := mustWrap(t, a, kid, k)
	other := kid
	other[15] ^= 1
	for _, moved := range []key.KID{other, key.NewKID(), {}} {
		got, err := a.unwrap(t.Context(), moved, w)
		checkRefused(t, "moved to another KID", k, got, err)
		if !errors.Is(err, kms.ErrMismatch) {
			t.Errorf("moved to another KID: %v, want ErrMismatch", err)
		}
	}
}

func testOtherKEK(t *testing.T, a, b kek) {
	kid, k := key.NewKID(), key.NewContentKey()
	got, err := b.unwrap(t.Context(), kid, mustWrap(t, a, kid, k))
	checkRefused(t, "shown to another KEK", k, got, err)
	if kms.Passes(err) {
		t.Errorf("shown to another KEK: %v, which passes with time", err)
	}
}

// testDamaged flips a bit of every byte, each of its eight over the bytes, and
// cuts at every length.
func testDamaged(t *testing.T, a kek) {
	kid, k := key.NewKID(), key.NewContentKey()
	w := mustWrap(t, a, kid, k)
	refused := func(what string, bad []byte) {
		got, err := a.unwrap(t.Context(), kid, bad)
		checkRefused(t, what, k, got, err)
		if kms.Passes(err) {
			t.Errorf("%s: %v, which passes with time", what, err)
		}
	}
	for i := range w {
		bad := bytes.Clone(w)
		bad[i] ^= 1 << (i % 8)
		refused(fmt.Sprintf("bit %d of byte %d flipped", i%8, i), bad)
	}
	for n := range len(w) {
		refused(fmt.Sprintf("cut to %d bytes", n), w[:n])
	}
	refused("one byte longer", append(bytes.Clone(w), 0))
}

func testNoKey(t *testing.T, a kek) {
	if _, err := a.wrap(t.Context(), key.NewKID(), key.ContentKey{}); !errors.Is(err, kms.ErrDenied) {
		t.Errorf("Wrap of no key: %v, want ErrDenied", err)
	}
}

func testCancelled(t *testing.T, a kek) {
	kid, k := key.NewKID(), key.NewContentKey()
	w := mustWrap(t, a, kid, k)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, unwrapErr := a.unwrap(ctx, kid, w)
	checkRefused(t, "cancelled", k, got, unwrapErr)
	_, wrapErr := a.wrap(ctx, kid, k)
	_, createErr := a.Create(ctx, "suite-cancelled")
	_, describeErr := a.Describe(ctx, a.id)
	for call, err := range map[string]error{
		"Wrap": wrapErr, "Unwrap": unwrapErr, "Create": createErr, "Describe": describeErr,
		"Disable": a.Disable(ctx, a.id), "Enable": a.Enable(ctx, a.id),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", call, err)
		}
	}
}

func testConcurrent(t *testing.T, a kek) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 8 {
				kid, k := key.NewKID(), key.NewContentKey()
				w, err := a.wrap(t.Context(), kid, k)
				if err != nil {
					t.Errorf("Wrap: %v", err)
					return
				}
				if got, err := a.unwrap(t.Context(), kid, w); err != nil || !got.Equal(k) {
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
