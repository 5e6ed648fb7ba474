package restoredrill

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
)

// refusal is a restore that must not happen.
type refusal struct {
	name string
	// prepare changes what lies on the machine. Nil: nothing.
	prepare func(t *testing.T, ctx context.Context, m *machine)
	shares  string // flags
	code    func(t *testing.T, ctx context.Context, otp *authenticator) string
	class   string
	exit    int
}

const (
	byKeys   = "--holder-key anna.key --holder-key ben.key"
	byShares = "--share-key machine.key --share ben.share --share cleo.share"
)

func right(t *testing.T, ctx context.Context, otp *authenticator) string { return otp.code(t, ctx) }

func change(name string, edit func(b []byte) []byte) func(*testing.T, context.Context, *machine) {
	return func(t *testing.T, _ context.Context, m *machine) {
		t.Helper()
		was := m.read(t, name)
		is := edit(bytes.Clone(was))
		if bytes.Equal(was, is) {
			t.Fatalf("the test left %s as it was", name)
		}
		m.write(t, name, is)
	}
}

func flip(at func(b []byte) int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at(b)] ^= 1
		return b
	}
}

func last(b []byte) int { return len(b) - 1 }

// body is where the chunks of a backup of three holders begin (package backup).
func body(b []byte) int {
	at := 0
	for range 6 {
		at += bytes.IndexByte(b[at:], '\n') + 1
	}
	return at
}

const chunk = 64<<10 + 12 + 16 // bytes, sealed

// swap puts the second chunk before the first.
func swap(b []byte) []byte {
	at := body(b)
	first, second, rest := b[at:at+chunk], b[at+chunk:at+2*chunk], b[at+2*chunk:]
	return bytes.Join([][]byte{b[:at], second, first, rest}, nil)
}

// sealedBit changes the text of a sealed share by one bit of what is sealed.
func sealedBit(b []byte) []byte {
	at := bytes.Index(b, []byte(`"sealed":"`)) + len(`"sealed":"`) + 100
	if b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return b
}

func shell(lines ...string) func(*testing.T, context.Context, *machine) {
	return func(t *testing.T, ctx context.Context, m *machine) {
		t.Helper()
		for _, line := range lines {
			if a := m.shell(t, ctx, "", line); a.code != 0 {
				t.Fatalf("$ %s: exit %d\n%s", line, a.code, a.stderr)
			}
		}
	}
}

func refusals() []refusal {
	const newKey = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "
	return []refusal{
		{"one share", nil, "--holder-key anna.key", right, "too-few-shares", 1},
		{"no share", nil, "", right, "too-few-shares", 1},
		{"one share twice", nil, "--holder-key anna.key --holder-key anna.key", right, "share", 1},
		{"a share sealed twice over", nil, "--holder-key ben.key --share-key machine.key --share ben.share", right, "share", 1},
		{"shares of two backups", change("cleo.share", func([]byte) []byte { return nil }), byShares, right, "malformed", 1},
		{"a share of another backup", shell("cp other.share cleo.share"), byShares, right, "share", 1},
		{"another holder's key", shell(newKey + "eve.key"), "--holder-key anna.key --holder-key eve.key", right, "share", 1},
		{"a share sealed to another machine", shell(newKey + "machine.key"), byShares, right, "share", 1},
		{"a damaged share", change("ben.share", sealedBit), byShares, right, "share", 1},
		{"a share cut short", change("ben.share", func(b []byte) []byte { return b[:len(b)/2] }), byShares, right, "malformed", 1},
		{"a damaged share in the file", change("keys.backup", sealedBit), byKeys, right, "share", 1},
		{"a key that others may read", shell("chmod 0644 ben.key"), byKeys, right, "usage", 2},
		{"a wrong code", nil, byKeys, func(t *testing.T, _ context.Context, otp *authenticator) string { return otp.wrong(t) }, "second-factor", 1},
		{"an old code", nil, byKeys, func(t *testing.T, _ context.Context, otp *authenticator) string { return otp.expired(t) }, "second-factor", 1},
		{"no code", nil, byKeys, func(*testing.T, context.Context, *authenticator) string { return "" }, "usage", 2},
		{"a file cut by a byte", change("keys.backup", func(b []byte) []byte { return b[:last(b)] }), byKeys, right, "damaged", 1},
		{"a file cut between chunks", change("keys.backup", func(b []byte) []byte { return b[:body(b)+chunk] }), byKeys, right, "damaged", 1},
		{"a file cut after its header", change("keys.backup", func(b []byte) []byte { return b[:body(b)] }), byKeys, right, "damaged", 1},
		{"a file cut in its header", change("keys.backup", func(b []byte) []byte { return b[:body(b)/2] }), byKeys, right, "malformed", 1},
		{"an empty file", change("keys.backup", func([]byte) []byte { return nil }), byKeys, right, "malformed", 1},
		{"a longer file", change("keys.backup", func(b []byte) []byte { return append(b, 0) }), byKeys, right, "damaged", 1},
		{"a bit of the first chunk", change("keys.backup", flip(func(b []byte) int { return body(b) + 100 })), byKeys, right, "damaged", 1},
		{"a bit of the last chunk", change("keys.backup", flip(last)), byKeys, right, "damaged", 1},
		{"chunks swapped", change("keys.backup", swap), byKeys, right, "damaged", 1},
		{"another format", change("keys.backup", func(b []byte) []byte { return bytes.Replace(b, []byte("-v2\n"), []byte("-v1\n"), 1) }), byKeys, right, "unsupported", 1},
	}
}

// TestRefusals: what must not be restored is not, says why, and leaves the store
// as it was; --check refuses it likewise.
func TestRefusals(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	b := readBook(t)
	home := manyKeys(t, ctx)
	url := b.backedUpTwice(t, ctx, home)
	live := newMachine(t, home.media)
	live.mustWith(t, ctx, strings.Repeat("ab", 16)+":0123456789abcdeffedcba9876543210\n", "keys", "import", "-")
	for i, c := range refusals() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := live.likeness(t)
			m.bring(t, home, append(left(), "machine.key", "ben.share", "cleo.share", "other.share")...)
			was := m.store(t)
			if c.prepare != nil {
				c.prepare(t, ctx, m)
			}
			args := append([]string{"keys", "restore", "keys.backup", "--reason", "test", "--json"}, strings.Fields(c.shares)...)
			if i%2 == 0 {
				args = append(args, "--check")
			}
			wantRefusal(t, c.name, m.try(t, ctx, c.code(t, ctx, enrolled(t, url)), args...), c.exit, c.class)
			m.wantUntouched(t, c.name, was)
		})
	}
}

// TestCodeOnce: a code that was taken is taken, for a check and for a restore.
func TestCodeOnce(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	b := readBook(t)
	m := newMachine(t, library(t))
	m.mustWith(t, ctx, movieVideo+":00112233445566778899aabbccddeeff\n", "keys", "import", "-")
	otp := b.backedUp(t, ctx, m)
	code := otp.code(t, ctx)
	restore := append([]string{"keys", "restore", "keys.backup", "--reason", "test", "--json"}, strings.Fields(byKeys)...)
	check := append(restore[:len(restore):len(restore)], "--check")
	m.mustWith(t, ctx, code, check...)
	was := m.store(t)
	wantRefusal(t, "the code of a check", m.try(t, ctx, code, restore...), 1, "second-factor")
	wantRefusal(t, "the code of a check", m.try(t, ctx, code, check...), 1, "second-factor")
	m.wantUntouched(t, "after them", was)
	m.mustWith(t, ctx, otp.code(t, ctx), restore...)
}

// TestNothingRevived: a restore over keys that have gone on leaves them where they
// are, also when their records were lost and only the audit log is left.
func TestNothingRevived(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	b := readBook(t)
	m := newMachine(t, library(t))
	unused := strings.Repeat("ab", 16) // no asset depends on it
	m.mustWith(t, ctx, string(fixtures.Keys())+unused+":0123456789abcdeffedcba9876543210\n", "keys", "import", "-")
	m.must(t, ctx, "scan")
	otp := b.backedUp(t, ctx, m)
	for kid, state := range map[string]string{movieVideo: "suspended", sharedAudio: "deactivated", shortVideo: "compromised", unused: "deactivated"} {
		m.must(t, ctx, "keys", "state", kid, state, "--reason", "test")
	}
	m.must(t, ctx, "scan")
	m.must(t, ctx, "keys", "destroy", unused, "--reason", "test")
	states := m.states(t, ctx)
	restore := append([]string{"keys", "restore", "keys.backup", "--reason", "test", "--json"}, strings.Fields(byKeys)...)
	was := m.store(t)
	got := decode[struct{ Entries, Created int }](t, m.mustWith(t, ctx, otp.code(t, ctx), restore...))
	if got.Created != 0 || got.Entries != len(states) {
		t.Errorf("over keys that stand: %+v", got)
	}
	m.wantUntouched(t, "over keys that stand", was)

	for _, lost := range []string{"keys", "key-values", "key-uris"} {
		if err := os.RemoveAll(filepath.Join(m.control, lost)); err != nil {
			t.Fatal(err)
		}
	}
	got = decode[struct{ Entries, Created int }](t, m.mustWith(t, ctx, otp.code(t, ctx), restore...))
	if got.Created != len(states) {
		t.Errorf("over records that were lost: %+v", got)
	}
	m.wantStates(t, ctx, states)
	a := m.try(t, ctx, "", "keys", "export", unused, "--reveal", "--reason", "test", "--json")
	wantRefusal(t, "export of a destroyed key", a, 1, "forbidden")
}

// manyKeys is a machine whose backup is of more than two chunks.
func manyKeys(t *testing.T, ctx context.Context) *machine {
	t.Helper()
	m := newMachine(t, library(t))
	var lines strings.Builder
	for i := range 500 {
		fmt.Fprintf(&lines, "%032x:%s\n", i+1, digest([]byte{byte(i), byte(i >> 8)})[:32])
	}
	m.mustWith(t, ctx, lines.String(), "keys", "import", "-")
	return m
}

// backedUpTwice is backedUp with shares sealed to machine.key, and a share of
// another backup to the same holders.
func (b book) backedUpTwice(t *testing.T, ctx context.Context, m *machine) []byte {
	t.Helper()
	b.backedUp(t, ctx, m)
	otp := m.read(t, "otp.txt")
	if n := len(m.read(t, "keys.backup")); n < 2*chunk {
		t.Fatalf("the backup has %d bytes, and no two whole chunks", n)
	}
	again := strings.NewReplacer("keys.backup", "other.backup", "otp.txt", "other.txt").Replace(b.backup[0])
	seal := strings.NewReplacer("keys.backup", "other.backup", "cleo.share", "other.share").Replace(b.sealed[3])
	shell(b.sealed[0], b.sealed[1], b.sealed[2], b.sealed[3], again, seal)(t, ctx, m)
	return otp
}
