package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// TestNoAuditNoOperation: with the log down, nothing is made, changed or handed
// out, and the error is the log's.
func TestNoAuditNoOperation(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	b.mustImport(t, kid, k)
	secretID := key.KIDFromURI("rotation:r1")
	if err := b.CreateSecret(t.Context(), secretID, "MAC key"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(b.path(kid))
	if err != nil {
		t.Fatal(err)
	}
	logged := len(b.entries(t))
	b.store.on(auditDown)
	for name, f := range map[string]func() (key.ContentKey, error){
		"import": func() (key.ContentKey, error) {
			_, err := b.Import(t.Context(), key.NewKID(), key.NewContentKey(), ImportOptions{})
			return key.ContentKey{}, err
		},
		"import again": func() (key.ContentKey, error) {
			_, err := b.Import(t.Context(), kid, k, ImportOptions{})
			return key.ContentKey{}, err
		},
		"add URI": func() (key.ContentKey, error) {
			_, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "a.key"})
			return key.ContentKey{}, err
		},
		"create": func() (key.ContentKey, error) {
			_, err := b.Create(t.Context(), key.NewKID(), CreateOptions{Rotation: "r1"})
			return key.ContentKey{}, err
		},
		"state": func() (key.ContentKey, error) {
			return key.ContentKey{}, b.SetState(t.Context(), kid, Compromised, "")
		},
		"unwrap": func() (key.ContentKey, error) { return b.Unwrap(t.Context(), kid, Verify, "") },
		"export": func() (key.ContentKey, error) { return b.Unwrap(t.Context(), kid, Export, "") },
		"wrap secret": func() (key.ContentKey, error) {
			return key.ContentKey{}, b.CreateSecret(t.Context(), key.KIDFromURI("rotation:r2"), "MAC key")
		},
		"unwrap secret": func() (key.ContentKey, error) { return b.OpenSecret(t.Context(), secretID, "MAC key") },
	} {
		if got, err := f(); !errors.Is(err, errAudit) || !got.IsZero() {
			t.Errorf("%s: %v, want the log's error and no key", name, err)
		}
	}
	b.store.on(nil)
	if after, err := os.ReadFile(b.path(kid)); err != nil || string(after) != string(before) {
		t.Errorf("the record changed (%v)", err)
	}
	if all, err := filepath.Glob(filepath.Join(b.root, "keys", "*")); err != nil || len(all) != 1 {
		t.Errorf("%d records, want the one that stood before (%v)", len(all), err)
	}
	if n := len(b.entries(t)); n != logged {
		t.Errorf("%d entries on the log, want %d", n, logged)
	}
}

// TestRefusalStandsWithoutLog: a refusal that cannot be put on record is still
// a refusal, and says both.
func TestRefusalStandsWithoutLog(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	b.mustSet(t, kid, Compromised)
	b.store.on(auditDown)
	if _, err := b.Unwrap(t.Context(), kid, Encrypt, ""); !errors.Is(err, ErrForbidden) || !errors.Is(err, errAudit) {
		t.Errorf("Unwrap: %v, want ErrForbidden and the log's error", err)
	}
}

// TestAuditComesFirst: in every operation that opens or writes a key, the audit
// record is written before the key record is, or the key is opened.
func TestAuditComesFirst(t *testing.T) {
	b := newBench(t)
	var calls []string
	b.store.on(func(op, name string) error {
		calls = append(calls, op+" "+strings.SplitAfter(name, "/")[0])
		return nil
	})
	spy := &spy{Wrapper: b.kms, calls: &calls}
	r := b.ring(b.store, spy)
	kid := key.NewKID()
	if _, err := r.Import(t.Context(), kid, key.NewContentKey(), ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Unwrap(t.Context(), kid, Deliver, ""); err != nil {
		t.Fatal(err)
	}
	if err := r.SetState(t.Context(), kid, Deactivated, ""); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "order", calls, []string{
		"stat secrets/", "put audit/", "unwrap", // the fingerprints' secret
		"put audit/", "wrap", "put key-values/", "put keys/", // import
		"put audit/", "unwrap", // unwrap
		"put audit/", "put audit/", "put keys/", // state: on the log, and anchored
	})
}

type spy struct {
	Wrapper
	calls *[]string
	err   error
}

func (s *spy) Wrap(ctx context.Context, kek string, kid key.KID, k key.ContentKey) ([]byte, error) {
	*s.calls = append(*s.calls, "wrap")
	if s.err != nil {
		return nil, s.err
	}
	return s.Wrapper.Wrap(ctx, kek, kid, k)
}

func (s *spy) Unwrap(ctx context.Context, kek string, kid key.KID, wrapped []byte) (key.ContentKey, error) {
	*s.calls = append(*s.calls, "unwrap")
	if s.err != nil {
		return key.ContentKey{}, s.err
	}
	return s.Wrapper.Unwrap(ctx, kek, kid, wrapped)
}

// TestKMSDown: a provider's failure keeps its class and is on record; nothing
// stands afterwards.
func TestKMSDown(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	r := b.ring(b.store, &spy{Wrapper: b.kms, calls: new([]string), err: kms.ErrThrottled})
	fresh := key.NewKID()
	for name, f := range map[string]func() error{
		"import": func() error {
			_, err := r.Import(t.Context(), fresh, key.NewContentKey(), ImportOptions{})
			return err
		},
		"create":      func() error { _, err := r.Create(t.Context(), fresh, CreateOptions{Rotation: "r1"}); return err },
		"unwrap":      func() error { _, err := r.Unwrap(t.Context(), kid, Verify, ""); return err },
		"make secret": func() error { return r.CreateSecret(t.Context(), fresh, "") },
		"open secret": func() error { _, err := r.OpenSecret(t.Context(), valuesKID(), ""); return err },
	} {
		if err := f(); !errors.Is(err, kms.ErrThrottled) {
			t.Errorf("%s: %v, want ErrThrottled", name, err)
		}
		if e := b.lastEntry(t); e.Outcome != "failed" || !strings.Contains(e.Reason, "throttled") {
			t.Errorf("%s: audit record %+v, want failed", name, e)
		}
	}
	if _, err := b.Get(t.Context(), fresh); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get: %v, want ErrNotFound", err)
	}
}

// TestFailureOnRecordAfterCancel: an operation that was cancelled midway says
// so on the log.
func TestFailureOnRecordAfterCancel(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.store.on(func(op, name string) error {
		if op == "put" && strings.HasPrefix(name, prefix) {
			cancel()
			return ctx.Err()
		}
		return nil
	})
	if _, err := b.Import(ctx, key.NewKID(), key.NewContentKey(), ImportOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Import: %v, want context.Canceled", err)
	}
	wantSame(t, "audit", b.entries(t), []string{"key.import allowed", "key.import failed"})
}

// TestSecrets: CreateSecret and OpenSecret keep a secret that is no content key,
// and are no way to a content key.
func TestSecrets(t *testing.T) {
	b := newBench(t)
	id := key.KIDFromURI("rotation:r1")
	for range 2 { // made once
		if err := b.CreateSecret(t.Context(), id, "MAC key of r1"); err != nil {
			t.Fatal(err)
		}
	}
	first, err := b.OpenSecret(t.Context(), id, "MAC key of r1")
	if err != nil || first.IsZero() {
		t.Fatalf("OpenSecret: %v", err)
	}
	if again, err := b.rival().OpenSecret(t.Context(), id, "MAC key of r1"); err != nil || !again.Equal(first) {
		t.Errorf("OpenSecret: another secret, or %v", err)
	}
	if _, err := b.OpenSecret(t.Context(), key.KIDFromURI("rotation:r2"), ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("a secret that was never made: %v, want ErrNotFound", err)
	}
	wantSame(t, "audit", b.entries(t), []string{
		"key.wrap allowed", "key.unwrap allowed", "key.unwrap allowed", "key.unwrap allowed", "key.unwrap failed",
	})
}

// TestSecretIsNoKey: the wrapped bytes of a content key, put in the place of a
// secret, do not open, and the other way round.
func TestSecretIsNoKey(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	rec, err := b.Get(t.Context(), kid)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.CreateSecret(t.Context(), kid, ""); err != nil {
		t.Fatal(err)
	}
	s, etag, err := b.readSecret(t.Context(), secretName(kid))
	if err != nil {
		t.Fatal(err)
	}
	own := s.Wrapped
	s.Wrapped = rec.Wrapped
	body, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Put(t.Context(), secretName(kid), body, store.PutOptions{IfMatch: etag}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.OpenSecret(t.Context(), kid, ""); !errors.Is(err, kms.ErrMismatch) || !got.IsZero() {
		t.Errorf("OpenSecret of a content key: %v, want kms.ErrMismatch and no key", err)
	}
	rec.Wrapped = own
	_, at, err := b.read(t.Context(), kid)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.replace(t.Context(), rec, at.etag); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Unwrap(t.Context(), kid, Verify, ""); !errors.Is(err, kms.ErrMismatch) || !got.IsZero() {
		t.Errorf("Unwrap of a secret: %v, want kms.ErrMismatch and no key", err)
	}
}
