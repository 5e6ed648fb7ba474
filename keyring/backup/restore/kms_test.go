package restore

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// failing is a key service that wraps nothing for some KIDs.
type failing struct {
	*kms.Local
	err     error
	refuses func(key.KID) bool
}

func (f *failing) Wrap(ctx context.Context, kek string, kid key.KID, k key.ContentKey) ([]byte, error) {
	if f.refuses(kid) {
		return nil, f.err
	}
	return f.Local.Wrap(ctx, kek, kid, k)
}

// under is a ring over a store whose key service is f.
func under(t *testing.T, s store.Store, f *failing) *keyring.Ring {
	t.Helper()
	f.Local = kms.NewLocal(kms.LocalOptions{Path: filepath.Join(t.TempDir(), "master.key")})
	kek, err := f.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return keyring.New(keyring.Options{Store: s, KMS: f, KEK: kek, Log: audit.New(s, clock, "alice"), Clock: clock})
}

// TestAllStopsForKMS: what the key service says of the KEK in use is said of all
// entries that follow, and is no failure of each; what it says of one wrapped key is.
func TestAllStopsForKMS(t *testing.T) {
	from := ringOver(t, folder(t))
	kids := stock(t, from, 4)
	body, u := made(t, from)
	for _, c := range []struct {
		class error
		stops bool
	}{
		{kms.ErrUnavailable, true}, {kms.ErrThrottled, true}, {kms.ErrDenied, true},
		{kms.ErrDisabled, true}, {kms.ErrNotFound, true}, {kms.ErrMismatch, false},
	} {
		s := folder(t)
		f := &failing{err: c.class, refuses: func(k key.KID) bool { return k == kids[1] }}
		ring := under(t, s, f)
		got, err := All(t.Context(), ring, u, body, Options{Reason: "test", Control: s})
		switch {
		case c.stops && (!errors.Is(err, c.class) || got.Created != 1 || len(got.Failed) != 0):
			t.Errorf("%v: %+v, %v; want one key, and the error", c.class, got, err)
		case !c.stops && (err != nil || got.Created != 3 || !slices.Equal(failed(got), kids[1:2])):
			t.Errorf("%v: %+v, %v; want the others restored", c.class, got, err)
		}
		f.refuses = func(key.KID) bool { return false }
		got, err = All(t.Context(), ring, u, body, Options{Reason: "test", Control: s})
		if err != nil || got.Entries != 4 || len(got.Failed) != 0 {
			t.Errorf("again after %v: %+v, %v", c.class, got, err)
		}
	}
}

// TestAllPastKEK: a secret that stands under a KEK which was switched off keeps none
// of the others from being restored, unless new ones are wrapped under it, too.
func TestAllPastKEK(t *testing.T) {
	secret := key.KIDFromURI("test:secret")
	for _, moves := range []bool{true, false} {
		from := ringOver(t, folder(t))
		stock(t, from, 3)
		if err := from.CreateSecret(t.Context(), secret, "test"); err != nil {
			t.Fatal(err)
		}
		body, u := made(t, from)
		s := folder(t)
		f := &failing{refuses: func(key.KID) bool { return false }}
		to := under(t, s, f)
		old, err := to.KEK(t.Context())
		if err == nil {
			err = to.CreateSecret(t.Context(), secret, "test")
		}
		if err == nil && moves {
			var next string
			if next, err = f.Create(t.Context(), "next"); err == nil {
				err = to.UseKEK(t.Context(), next, "test")
			}
		}
		if err == nil {
			err = f.Disable(t.Context(), old)
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := All(t.Context(), to, u, body, Options{Reason: "test", Control: s})
		if moves && (err != nil || got.Created != 3 || !slices.Equal(failed(got), []key.KID{secret}) || !strings.Contains(got.Failed[0].Reason, kms.ErrDisabled.Error())) {
			t.Errorf("under another KEK: %+v, %v", got, err)
		}
		if !moves && (!errors.Is(err, kms.ErrDisabled) || got.Entries != 0 || len(got.Failed) != 0) {
			t.Errorf("under the KEK in use: %+v, %v", got, err)
		}
	}
}
