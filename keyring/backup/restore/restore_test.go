package restore

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"iter"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/keyring/backup"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/store/storetest"
)

func clock() time.Time { return time.Date(2026, 5, 4, 11, 50, 1, 0, time.UTC) }

func folder(t *testing.T) store.Store {
	t.Helper()
	s, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ringOver(t *testing.T, s store.Store) *keyring.Ring {
	t.Helper()
	local := kms.NewLocal(kms.LocalOptions{Path: filepath.Join(t.TempDir(), "master.key")})
	kek, err := local.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return keyring.New(keyring.Options{Store: s, KMS: local, KEK: kek, Log: audit.New(s, clock, "alice"), Clock: clock})
}

// print64 is a fingerprint.
const print64 = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"

// TestUseCode: each counter of each backup once, and a store that fails is not
// told as a code that was used.
func TestUseCode(t *testing.T) {
	s := folder(t)
	use := UseCode(t.Context(), s, print64)
	for i, want := range []error{nil, backup.ErrUsed, backup.ErrUsed} {
		if err := use(7); !errors.Is(err, want) {
			t.Errorf("use %d: %v, want %v", i, err, want)
		}
	}
	if err := use(8); err != nil {
		t.Errorf("another counter: %v", err)
	}
	if err := UseCode(t.Context(), s, strings.Repeat("f0", 32))(7); err != nil {
		t.Errorf("another backup: %v", err)
	}
	f := &storetest.Faulty{Store: s}
	f.Before = func(string, string) error { return store.ErrDenied }
	err := UseCode(t.Context(), f, print64)(9)
	if !errors.Is(err, store.ErrDenied) || errors.Is(err, backup.ErrUsed) {
		t.Errorf("a store that refuses: %v", err)
	}
	f.Before = nil
	lost := false
	f.After = func(op, _ string) error {
		if lost || op != "put" {
			return nil
		}
		lost = true
		return store.ErrUnavailable
	}
	if err := UseCode(t.Context(), f, print64)(9); err != nil || !lost {
		t.Errorf("an answer that was lost: %v; the code is ours", err)
	}
}

// TestUseCodeRace: of many at once one takes it.
func TestUseCodeRace(t *testing.T) {
	s := folder(t)
	var taken atomic.Int32
	var running sync.WaitGroup
	for range 16 {
		running.Go(func() {
			switch err := UseCode(t.Context(), s, print64)(7); {
			case err == nil:
				taken.Add(1)
			case !errors.Is(err, backup.ErrUsed):
				t.Error(err)
			}
		})
	}
	running.Wait()
	if taken.Load() != 1 {
		t.Errorf("taken %d times", taken.Load())
	}
}

// TestTry: so many for each request of each backup, also all at once.
func TestTry(t *testing.T) {
	s := folder(t)
	var mu sync.Mutex
	seen := map[int]int{}
	refused := 0
	var running sync.WaitGroup
	for range 4 * backup.MaxAttempts {
		running.Go(func() {
			n, err := Try(t.Context(), s, print64, "r1")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				seen[n]++
			case errors.Is(err, backup.ErrAttempts):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	running.Wait()
	if len(seen) != backup.MaxAttempts || refused != 3*backup.MaxAttempts || seen[1] != 1 || seen[backup.MaxAttempts] != 1 {
		t.Errorf("tried %v, refused %d", seen, refused)
	}
	if _, err := Try(t.Context(), s, print64, "r1"); !errors.Is(err, backup.ErrAttempts) || !strings.Contains(err.Error(), "r1") {
		t.Errorf("one more: %v", err)
	}
	if n, err := Try(t.Context(), s, print64, "r2"); n != 1 || err != nil {
		t.Errorf("another request: %d, %v", n, err)
	}
	f := &storetest.Faulty{Store: s}
	f.Before = func(string, string) error { return store.ErrDenied }
	if _, err := Try(t.Context(), f, print64, "r3"); !errors.Is(err, store.ErrDenied) || errors.Is(err, backup.ErrAttempts) {
		t.Errorf("a store that refuses: %v", err)
	}
}

// made is a backup of a ring, unlocked.
func made(t *testing.T, ring *keyring.Ring) ([]byte, *backup.Unlocked) {
	t.Helper()
	var holders []backup.Holder
	var private []*ecdh.PrivateKey
	for _, name := range []string{"anna", "ben"} {
		k, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private, holders = append(private, k), append(holders, backup.Holder{Name: name, Key: k.PublicKey()})
	}
	var entries iter.Seq2[backup.Entry, error] = func(yield func(backup.Entry, error) bool) {
		for c, err := range ring.Copies(t.Context(), "test") {
			if !yield(backup.Entry(c), err) {
				return
			}
		}
	}
	var body bytes.Buffer
	m, err := backup.Write(&body, entries, backup.Options{Threshold: 2, Holders: holders, Created: clock()})
	if err != nil {
		t.Fatal(err)
	}
	var shares []backup.Share
	for i, s := range m.Header.Shares {
		share, err := m.Header.OpenShare(s, private[i])
		if err != nil {
			t.Fatal(err)
		}
		shares = append(shares, share)
	}
	master, err := m.Header.Combine(shares)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(master.Close)
	factor, err := otp.NewKeyFromURL(m.Enrolment.RevealURL())
	if err != nil {
		t.Fatal(err)
	}
	code, err := totp.GenerateCodeCustom(factor.Secret(), clock(), totp.ValidateOpts{Period: 30, Digits: factor.Digits(), Algorithm: factor.Algorithm()})
	if err != nil {
		t.Fatal(err)
	}
	u, err := master.Unlock(code, clock(), UseCode(t.Context(), folder(t), m.Header.Fingerprint()))
	if err != nil {
		t.Fatal(err)
	}
	return body.Bytes(), u
}

// TestAll: into an empty store, and again; nothing of a backup that is damaged at
// its very end; and on from where a store failed.
func TestAll(t *testing.T) {
	from := ringOver(t, folder(t))
	const keys = 40
	for range keys {
		if _, err := from.Import(t.Context(), key.NewKID(), key.NewContentKey(), keyring.ImportOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	body, u := made(t, from)
	wantAll := func(what string, r *keyring.Ring, b []byte, want Counts, class error) {
		t.Helper()
		if got, err := All(t.Context(), r, u, b, Options{Reason: "test"}); !reflect.DeepEqual(got, want) || !errors.Is(err, class) {
			t.Errorf("%s: %+v, %v; want %+v, %v", what, got, err, want, class)
		}
	}
	s := folder(t)
	f := &storetest.Faulty{Store: s}
	to := ringOver(t, f)
	bad := bytes.Clone(body)
	bad[len(bad)-1] ^= 1
	wantAll("a damaged end", to, bad, Counts{}, backup.ErrDamaged)
	for _, err := range to.List(t.Context()) {
		t.Errorf("something of it stands (%v)", err)
	}
	n := 0
	f.Before = func(op, name string) error {
		if op != "put" || !strings.HasPrefix(name, "keys/") {
			return nil
		}
		if n++; n > 10 {
			return store.ErrDenied
		}
		return nil
	}
	wantAll("a store that fails", to, body, Counts{Entries: 10, Created: 10}, store.ErrDenied)
	f.Before = nil
	wantAll("on from there", to, body, Counts{Entries: keys, Created: keys - 10}, nil)
	wantAll("again", to, body, Counts{Entries: keys}, nil)
}
