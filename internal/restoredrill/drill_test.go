package restoredrill

import (
	"strings"
	"testing"
)

// TestDrill: backup, all lost, a new machine, restore, and the library verifies
// and rotates; by holders' keys, and by shares that holders sealed at home.
func TestDrill(t *testing.T) {
	t.Parallel()
	b := readBook(t)
	for _, c := range []struct {
		name  string
		lines func(book) []string
	}{
		{"holders' keys", func(b book) []string { return b.machine }},
		{"sealed shares", func(b book) []string { return append(b.sealed, b.machine[1:]...) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx := bounded(t)
			old := stocked(t, ctx)
			otp := b.backedUp(t, ctx, old)
			states := old.states(t, ctx)
			if states[sharedAudio] != "compromised" || len(states) < 9 {
				t.Fatalf("the rotation left %v", states)
			}
			m := newMachine(t, old.media)
			m.bring(t, old, left()...)
			kek := old.kek(t, ctx)
			old.wipe(t)
			m.follow(t, ctx, otp, c.lines(b))
			m.wantStates(t, ctx, states)
			if m.kek(t, ctx) == kek {
				t.Error("the new machine has the old KEK")
			}
			m.wantLibrary(t, ctx)
		})
	}
}

// TestCheck: --check proves a backup and changes nothing, where the keys are,
// where others are, and where none are.
func TestCheck(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	b := readBook(t)
	home := stocked(t, ctx)
	otp := b.backedUp(t, ctx, home)
	states := home.states(t, ctx)

	was := home.store(t)
	home.follow(t, ctx, otp, b.backup[1:])
	home.wantUntouched(t, "where the keys are", was)

	// Each machine knows the codes that it has taken, and no other's.
	other, otp := newMachine(t, library(t)), enrolled(t, home.read(t, "otp.txt"))
	other.bring(t, home, left()...)
	// Another key under a KID of the backup, and one that is not in it.
	other.mustWith(t, ctx, movieVideo+":00112233445566778899aabbccddeeff\n"+strings.Repeat("ab", 16)+":0123456789abcdeffedcba9876543210\n", "keys", "import", "-")
	theirs := other.states(t, ctx)
	was = other.store(t)
	other.follow(t, ctx, otp, b.backup[1:])
	other.wantUntouched(t, "where others are", was)
	other.wantStates(t, ctx, theirs)
	// The real restore is refused there, and leaves that key alone.
	a := other.try(t, ctx, otp.code(t, ctx), "keys", "restore", "keys.backup", "--holder-key", "anna.key", "--holder-key", "ben.key", "--reason", "x", "--json")
	wantRefusal(t, "another key under the KID", a, 4, "partial")
	if line := strings.TrimSpace(other.must(t, ctx, "keys", "export", movieVideo, "--reveal", "--reason", "test")); line != movieVideo+":00112233445566778899aabbccddeeff" {
		t.Error("the key that stood was replaced")
	}
	home.wantStates(t, ctx, states)

	empty, otp := newMachine(t, library(t)), enrolled(t, home.read(t, "otp.txt"))
	empty.bring(t, home, left()...)
	empty.follow(t, ctx, otp, b.backup[1:])
	empty.wantUntouched(t, "where none are", nil)
}

// wantRefusal: the exit code, and the class that scripts read.
func wantRefusal(t *testing.T, what string, a answer, code int, class string) {
	t.Helper()
	if a.code != code {
		t.Errorf("%s: exit %d, want %d\n%s", what, a.code, code, a.stderr)
		return
	}
	last := a.stderr[strings.LastIndex(strings.TrimSpace(a.stderr), "\n")+1:]
	if got := decode[struct{ Error, Class string }](t, last); got.Class != class {
		t.Errorf("%s: class %q, want %q: %s", what, got.Class, class, got.Error)
	}
	if strings.Contains(a.stdout, "restored") {
		t.Errorf("%s: it says %s", what, a.stdout)
	}
}
