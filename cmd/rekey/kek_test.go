package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// kekLab is some control stores whose local KEKs are under one master key file.
type kekLab struct {
	t      *testing.T
	root   string
	master string
}

func newKEKLab(t *testing.T) *kekLab {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &kekLab{t, dir, filepath.Join(dir, "master.key")}
}

func (l *kekLab) control(store string) string { return filepath.Join(l.root, store) }

func (l *kekLab) run(store, stdin string, args ...string) (code int, out, errs string) {
	l.t.Helper()
	var o, e bytes.Buffer
	args = append(args, "--control", l.control(store), "--master-key", l.master)
	code = run(l.t.Context(), args, strings.NewReader(stdin), &o, &e)
	return code, o.String(), e.String()
}

// ok runs a command on a control store, which must succeed.
func (l *kekLab) ok(store string, args ...string) string {
	l.t.Helper()
	code, out, errs := l.run(store, "", args...)
	if code != exitDone {
		l.t.Fatalf("rekey %q: exit %d\n%s%s", args, code, out, errs)
	}
	return out
}

// refused runs a command that must fail with a class, and returns what it said.
func (l *kekLab) refused(store, class string, args ...string) (out, message string) {
	l.t.Helper()
	code, out, errs := l.run(store, "", append(args, "--json")...)
	var line errorLine
	lines := strings.Split(strings.TrimSpace(errs), "\n") // warnings of key services come before it
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil || line.Class != class || code == exitDone {
		l.t.Fatalf("rekey %q: exit %d, class %q, %v; want %q\n%s", args, code, line.Class, err, class, errs)
	}
	return out, line.Error
}

// imported puts a new key into a control store.
func (l *kekLab) imported(store string) key.KID {
	l.t.Helper()
	kid := key.NewKID()
	raw := key.NewContentKey().RevealSecretBytes()
	if code, _, errs := l.run(store, kid.String()+":"+key.KID(raw).String()+"\n", "keys", "import", "-"); code != exitDone {
		l.t.Fatalf("keys import: exit %d\n%s", code, errs)
	}
	return kid
}

func (l *kekLab) keks(store string) []kekLine {
	l.t.Helper()
	var lines []kekLine
	if err := json.Unmarshal([]byte(l.ok(store, "kek", "list", "--json")), &lines); err != nil {
		l.t.Fatal(err)
	}
	return lines
}

// opens reports whether a key opens.
func (l *kekLab) opens(store string, kid key.KID) bool {
	l.t.Helper()
	code, _, _ := l.run(store, "", "keys", "export", kid.String(), "--reveal", "--reason", "test")
	return code == exitDone
}

// TestKEKOfTwoLibraries: what one library does to the KEK that it shares with
// another takes no key from that.
func TestKEKOfTwoLibraries(t *testing.T) {
	l := newKEKLab(t)
	a, b := l.imported("a"), l.imported("b")
	old := l.keks("a")[0].KEK
	if got := l.keks("b")[0].KEK; got != old {
		t.Fatalf("two libraries are under %s and %s, want one KEK", old, got)
	}
	out, message := l.refused("a", "kek-in-use", "kek", "rotate", "--create", "new", "--reason", "leak")
	if !strings.Contains(message, l.control("b")) || strings.Contains(message, l.control("a")+" ") || !strings.Contains(message, old) {
		t.Errorf("kek rotate: %s; want it to name %s and %s", message, old, l.control("b"))
	}
	var rotated kekRotated
	if err := json.Unmarshal([]byte(out), &rotated); err != nil || rotated.Moved != 2 || len(rotated.Disabled) != 0 {
		t.Errorf("kek rotate prints %s, %v; want 2 moved, none disabled", out, err)
	}
	l.refused("a", "kek-in-use", "kek", "destroy", old, "--reason", "leak")
	l.refused("a", "kek-in-use", "kek", "disable", old, "--reason", "leak")
	if !l.opens("a", a) || !l.opens("b", b) {
		t.Error("a key does not open any more")
	}
	l.ok("b", "kek", "rotate", "--create", "other", "--reason", "leak")
	if !l.opens("a", a) || !l.opens("b", b) {
		t.Error("a key does not open any more")
	}
	if d := l.keks("b")[0]; d.KEK != old || d.State != "disabled" {
		t.Errorf("after both have left it, %+v; want it disabled", d)
	}
	l.ok("a", "kek", "destroy", old, "--reason", "leak")
}

// TestKEKOfOneName: a library in the place of one that was moved away is another,
// and the one that was moved is the same.
func TestKEKOfOneName(t *testing.T) {
	l := newKEKLab(t)
	a := l.imported("control")
	old := l.keks("control")[0].KEK
	if err := os.Rename(l.control("control"), l.control("moved")); err != nil {
		t.Fatal(err)
	}
	b := l.imported("control")
	l.refused("control", "kek-in-use", "kek", "rotate", "--create", "new", "--reason", "leak")
	if !l.opens("moved", a) || !l.opens("control", b) {
		t.Error("a key does not open any more")
	}
	l.ok("moved", "kek", "rotate", "--create", "other", "--reason", "leak")
	if d := l.keks("moved")[0]; d.KEK != old || d.State != "disabled" {
		t.Errorf("after both have left it, %+v; want it disabled", d)
	}
	if !l.opens("moved", a) || !l.opens("control", b) {
		t.Error("a key does not open any more")
	}
}

// TestKEKIsHeld: a library that asks for a KEK whose end is scheduled holds it, and
// kek list says so.
func TestKEKIsHeld(t *testing.T) {
	l := newKEKLab(t)
	l.imported("a")
	l.ok("a", "kek", "rotate", "--create", "new", "--keep-enabled", "--reason", "leak")
	b := l.imported("b")
	old := l.keks("b")[0].KEK
	notes, err := filepath.Glob(l.master + ".d/*.used-by-*")
	if err != nil || len(notes) == 0 {
		t.Fatalf("notes %q, %v", notes, err)
	}
	for _, n := range notes { // as if none could be taken
		if err := os.Remove(n); err != nil {
			t.Fatal(err)
		}
	}
	l.ok("a", "kek", "destroy", old, "--reason", "leak")
	if d := l.keks("a")[0]; d.Held != "" {
		t.Errorf("held by %s, want nobody", d.Held)
	}
	if l.opens("b", b) {
		t.Error("a key opens under a KEK that is off")
	}
	if text := l.ok("a", "kek", "list"); !strings.Contains(text, ", held by the control store "+l.control("b")) {
		t.Errorf("kek list: %s; want that %s holds it", text, l.control("b"))
	}
}

// TestMasterKeyIsNotMadeAgain: where the control store names a KEK whose file is
// missing, nothing puts another there.
func TestMasterKeyIsNotMadeAgain(t *testing.T) {
	l := newKEKLab(t)
	l.imported("a")
	if err := os.Rename(l.master, l.master+".away"); err != nil {
		t.Fatal(err)
	}
	l.ok("a", "keys", "list")
	if _, message := l.refused("a", "no-kek", "keys", "create"); !strings.Contains(message, l.master) {
		t.Errorf("keys create: %s, want the file that is missing", message)
	}
	if _, err := os.Lstat(l.master); !os.IsNotExist(err) {
		t.Errorf("there is a master key again, %v", err)
	}
	if err := os.Rename(l.master+".away", l.master); err != nil {
		t.Fatal(err)
	}
	l.imported("a")
	l.imported("b")
}

// unreadable breaks the record of a key.
func (l *kekLab) unreadable(store string, kid key.KID) string {
	l.t.Helper()
	name := "keys/" + kid.String() + ".json"
	if err := os.WriteFile(filepath.Join(l.control(store), name), []byte("{"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return name
}

// TestKEKRotateWithoutUnreadable: one record that does not read keeps a KEK on,
// by name, until somebody says to go on without it.
func TestKEKRotateWithoutUnreadable(t *testing.T) {
	l := newKEKLab(t)
	good := l.imported("a")
	bad := l.unreadable("a", l.imported("a"))
	old := l.keks("a")[0].KEK
	_, message := l.refused("a", "corrupt", "kek", "rotate", "--create", "new", "--reason", "leak")
	to := l.keks("a")[1].KEK
	if !strings.Contains(message, bad) || !strings.Contains(message, "--to "+to) {
		t.Errorf("kek rotate: %s; want it to name %s, and %s to go on with", message, bad, to)
	}
	if _, message := l.refused("a", "kek-in-use", "kek", "disable", old, "--reason", "leak"); !strings.Contains(message, bad) {
		t.Errorf("kek disable: %s, want it to name %s", message, bad)
	}
	var out kekRotated
	if err := json.Unmarshal([]byte(l.ok("a", "kek", "rotate", "--create", "new", "--reason", "leak", "--without-unreadable", "--json")), &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Left) != 1 || out.Left[0] != bad || len(out.Disabled) != 1 || out.Disabled[0] != old || out.KEK != to {
		t.Errorf("%+v; want %s left, %s disabled, under %s", out, bad, old, to)
	}
	if !l.opens("a", good) {
		t.Error("a key that reads does not open any more")
	}
	record := l.ok("a", "audit", "tail", "--json")
	for _, action := range []string{"key.rewrap", "kek.disable"} {
		n := 0
		for line := range strings.Lines(record) {
			if strings.Contains(line, action) && strings.Contains(line, `"object":"`+bad+`"`) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d audit records of %s of %s, want 1", n, action, bad)
		}
	}
	l.refused("a", "kek-in-use", "kek", "destroy", old, "--reason", "leak")
	if text := l.ok("a", "kek", "destroy", old, "--reason", "leak", "--without-unreadable"); !strings.Contains(text, bad) {
		t.Errorf("kek destroy: %s, want it to name %s", text, bad)
	}
}

// TestKEKRotateGoesOn with a KEK that was made and not used, or not for all, and
// with no other.
func TestKEKRotateGoesOn(t *testing.T) {
	l := newKEKLab(t)
	kid := l.imported("a")
	made := strings.TrimSpace(l.ok("a", "kek", "create", "two"))
	l.imported("b")
	l.refused("b", "exists", "kek", "rotate", "--create", "two", "--reason", "leak") // made for another library
	l.ok("b", "kek", "rotate", "--create", "other", "--keep-enabled", "--reason", "leak")
	l.refused("b", "kek-in-use", "kek", "disable", l.keks("b")[0].KEK, "--reason", "leak")
	text := l.ok("a", "kek", "rotate", "--create", "two", "--keep-enabled", "--reason", "leak")
	if !strings.Contains(text, "going on with "+made) || !strings.Contains(text, "2 of them moved") {
		t.Errorf("kek rotate: %s; want it to go on with %s", text, made)
	}
	if text := l.ok("a", "kek", "rotate", "--create", "two", "--reason", "leak"); !strings.Contains(text, "going on with "+made) || !strings.Contains(text, "disabled") {
		t.Errorf("kek rotate: %s; want it to go on and disable", text)
	}
	// All is done: to leave two because it has leaked takes another.
	if _, message := l.refused("a", "exists", "kek", "rotate", "--create", "two", "--reason", "leak"); !strings.Contains(message, made) {
		t.Errorf("kek rotate: %s, want the id", message)
	}
	l.ok("a", "kek", "rotate", "--create", "three", "--reason", "leak")
	l.refused("a", "exists", "kek", "rotate", "--create", "two", "--reason", "back")
	if !l.opens("a", kid) {
		t.Error("a key does not open any more")
	}
}

// TestKEKRotateTwiceAtOnce: the same rotation started twice is one.
func TestKEKRotateTwiceAtOnce(t *testing.T) {
	l := newKEKLab(t)
	kid := l.imported("a")
	for _, name := range []string{"one", "two", "three", "four"} {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if code, out, errs := l.run("a", "", "kek", "rotate", "--create", name, "--reason", "leak"); code != exitDone {
					t.Errorf("kek rotate --create %s: exit %d\n%s%s", name, code, out, errs)
				}
			})
		}
		wg.Wait()
	}
	keks := l.keks("a")
	for i, d := range keks {
		if want := i == 4; d.Current != want || (d.State == "enabled") != want || (d.Keys > 0) != want {
			t.Errorf("%+v; want the last of 5 alone in use", d)
		}
	}
	if len(keks) != 5 || !l.opens("a", kid) {
		t.Errorf("%d KEKs, or a key that does not open; want 5", len(keks))
	}
}

// TestKEKRotatePastUnknown: a KEK of before that is gone does not keep the leaked
// one on.
func TestKEKRotatePastUnknown(t *testing.T) {
	l := newKEKLab(t)
	l.imported("a")
	first := l.keks("a")[0].KEK
	l.ok("a", "kek", "rotate", "--create", "two", "--reason", "yearly")
	leaked := l.keks("a")[1].KEK
	if err := os.Remove(l.master); err != nil {
		t.Fatal(err)
	}
	var out kekRotated
	if err := json.Unmarshal([]byte(l.ok("a", "kek", "rotate", "--create", "three", "--reason", "leak", "--json")), &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Disabled) != 1 || out.Disabled[0] != leaked || len(out.Unknown) != 1 || out.Unknown[0] != first {
		t.Errorf("%+v; want %s disabled and %s unknown", out, leaked, first)
	}
}

// TestLookedAt: of a KEK that was switched off it is said where nobody looked.
func TestLookedAt(t *testing.T) {
	var a app
	a.cfg.Control = "s3://bucket/control"
	for kek, alone := range map[string]bool{"local:0123abcd": false, "aws-kms:arn:aws:kms:eu-west-1:111122223333:key/x": true} {
		if got := a.lookedAt(kek); !strings.HasPrefix(got, kek) || strings.Contains(got, "s3://bucket/control alone") != alone {
			t.Errorf("%s: %q", kek, got)
		}
	}
}
