package keyring

import (
	"bytes"
	"errors"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// TestDestroy: the wrapped key is out of the record for good; who the key was,
// its history and its fingerprint stay; the same value is known again and stays
// destroyed.
func TestDestroy(t *testing.T) {
	b := newBench(t)
	kid, k := key.NewKID(), key.NewContentKey()
	if _, err := b.Import(t.Context(), kid, k, ImportOptions{URI: "a.key"}); err != nil {
		t.Fatal(err)
	}
	before, err := b.Get(t.Context(), kid)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []State{Active, Suspended} {
		if s == Suspended {
			b.mustSet(t, kid, s)
		}
		if err := b.Destroy(t.Context(), kid, "purged"); !errors.Is(err, ErrTransition) {
			t.Errorf("Destroy of a key that is %s: %v, want ErrTransition", s, err)
		}
	}
	if err := b.SetState(t.Context(), kid, Destroyed, "purged"); !errors.Is(err, ErrTransition) {
		t.Errorf("SetState to destroyed: %v, want ErrTransition", err)
	}
	b.mustSet(t, kid, Deactivated)
	for range 2 {
		if err := b.Destroy(t.Context(), kid, "purged"); err != nil {
			t.Fatal(err)
		}
	}
	b.wantState(t, kid, Destroyed, 4)
	after, err := b.Get(t.Context(), kid)
	if err != nil || len(after.Wrapped) != 0 || after.Fingerprint != before.Fingerprint || after.URI != "a.key" || after.History[3].Reason != "purged" {
		t.Errorf("%+v, %v", after, err)
	}
	body := b.object(t, objectName(kid))
	if bytes.Contains(body, []byte(`"wrapped"`)) {
		t.Errorf("the record holds a wrapped key:\n%s", body)
	}
	for _, u := range Uses() {
		if got, err := b.Unwrap(t.Context(), kid, u, "r1"); !errors.Is(err, ErrForbidden) || !got.IsZero() {
			t.Errorf("%s: %v, want ErrForbidden and no key", u, err)
		}
	}
	if created, err := b.Import(t.Context(), kid, k, ImportOptions{}); err != nil || created {
		t.Errorf("Import of the same value: %v, %v; want false, nil", created, err)
	}
	if _, err := b.Import(t.Context(), kid, key.NewContentKey(), ImportOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("Import of another value: %v, want ErrExists", err)
	}
	b.wantState(t, kid, Destroyed, 4)
	b.forget(t, objectName(kid))
	for range 2 {
		if created, err := b.Import(t.Context(), kid, k, ImportOptions{}); err != nil || created {
			t.Errorf("Import where the record was lost: %v, %v; want false, nil", created, err)
		}
		b.wantState(t, kid, Destroyed, 4)
	}
}
