package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

func TestKeys(t *testing.T) {
	b := newBench(t)
	kept, short, bad := b.newKey(t), b.newKey(t, "short"), b.newKey(t, "short")
	b.setState(t, bad, keyring.Compromised)
	b.newKey(t)
	w := b.watcher(t, nil)
	look := func(d time.Duration) {
		t.Helper()
		b.add(d)
		w.round(t.Context())
	}
	look(0)
	expires := b.Now().Add(10 * 24 * time.Hour)
	want(t, w, map[string]float64{
		`rekey_keys{state="active"}`: 3, `rekey_keys{state="compromised"}`: 1, `rekey_keys{state="destroyed"}`: 0,
		"rekey_keys_near_expiry": 1, "rekey_keys_expired": 0, "rekey_keys_next_expiry_timestamp_seconds": seconds(expires),
		`rekey_events_total{event="keys-near-expiry"}`: 1, `rekey_events_total{event="keys-expired"}`: 0, "rekey_key_records_unreadable": 0,
	})
	look(time.Hour)
	want(t, w, map[string]float64{`rekey_events_total{event="keys-near-expiry"}`: 1}) // told once a day
	look(24 * time.Hour)
	want(t, w, map[string]float64{`rekey_events_total{event="keys-near-expiry"}`: 2})
	look(9 * 24 * time.Hour)
	want(t, w, map[string]float64{
		`rekey_keys{state="active"}`: 2, `rekey_keys{state="deactivated"}`: 1,
		"rekey_keys_near_expiry": 0, "rekey_keys_expired": 1, `rekey_events_total{event="keys-expired"}`: 1,
	})
	if err := b.ring.Expire(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	if err := b.ring.Destroy(t.Context(), short, "test"); err != nil {
		t.Fatal(err)
	}
	look(time.Hour)
	want(t, w, map[string]float64{"rekey_keys_expired": 0, `rekey_keys{state="destroyed"}`: 1})

	// A record that does not read is counted, and the others are.
	if err := os.WriteFile(filepath.Join(b.root, "keys", kept.String()+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	look(time.Hour)
	want(t, w, map[string]float64{"rekey_key_records_unreadable": 1, `rekey_keys{state="active"}`: 1, `rekey_watch_errors_total{part="keys"}`: 0})
}

// TestKeysFail: a listing that failed changes no gauge, and is made again in the
// next round.
func TestKeysFail(t *testing.T) {
	b := newBench(t)
	kid := b.newKey(t)
	w := b.watcher(t, nil)
	w.round(t.Context())
	b.newKey(t)
	b.store.on(func(op, name string) error {
		if op == "get" && name == "keys/"+kid.String()+".json" {
			return &store.Error{Op: op, Key: name, Err: store.ErrUnavailable}
		}
		return nil
	})
	b.add(time.Hour)
	w.round(t.Context())
	want(t, w, map[string]float64{`rekey_keys{state="active"}`: 1, `rekey_watch_errors_total{part="keys"}`: 1})
	b.store.on(nil)
	w.round(t.Context())
	want(t, w, map[string]float64{`rekey_keys{state="active"}`: 2})
	b.newKey(t)
	w.round(t.Context())
	want(t, w, map[string]float64{`rekey_keys{state="active"}`: 2}) // not yet
}

// TestKMSFailed: each class is counted under its own name; what does not pass is
// told at once, what passes when there is much of it.
func TestKMSFailed(t *testing.T) {
	b := newBench(t)
	// As in a worker, which watches nothing itself.
	w := b.watcher(t, func(o *Options) { o.Control, o.Ring = nil, nil })
	w.round(t.Context())
	for _, c := range kmsTable() {
		w.KMSFailed("vault", fmt.Errorf("%w: %w", c.err, errDown))
	}
	w.KMSFailed("vault", errDown)
	w.KMSFailed("carrier-pigeon", kms.ErrDenied)
	w.KMSFailed("vault", nil)
	values := map[string]float64{
		`rekey_kms_errors_total{class="denied",scheme="other"}`: 1,
		`rekey_events_total{event="kms-errors"}`:                7,
		`rekey_watch_last_round_timestamp_seconds`:              0,
	}
	for _, c := range kmsClasses() {
		values[fmt.Sprintf(`rekey_kms_errors_total{class=%q,scheme="vault"}`, c)] = 1
	}
	want(t, w, values)
	for range 18 {
		w.KMSFailed("vault", kms.ErrThrottled)
	}
	want(t, w, map[string]float64{`rekey_events_total{event="kms-errors"}`: 8, `rekey_kms_errors_total{class="throttled",scheme="vault"}`: 19})
}

// TestKMSFailedOfPatience: the hook is what kms.Patience takes.
func TestKMSFailedOfPatience(t *testing.T) {
	b := newBench(t)
	w := b.watcher(t, nil)
	local := kms.NewLocal(kms.LocalOptions{Path: filepath.Join(t.TempDir(), "master")})
	p := kms.Patient(local, kms.Patience{Failed: w.KMSFailed})
	if _, err := p.Describe(t.Context(), "local:none"); err == nil {
		t.Fatal("a KEK that is not there is described")
	}
	want(t, w, map[string]float64{`rekey_kms_errors_total{class="not-found",scheme="local"}`: 1})
}
