package audit

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seed-6133abe0/rekey/store"
)

// smallLog is a log of three streams, one of them ended, folded in several
// passes, and its checkpoints.
func smallLog(t *testing.T) (*yard, []Checkpoint) {
	t.Helper()
	y := newYard(t, newMemory())
	q := y.sequencer(y.store)
	var held []Checkpoint
	y.append(t, New(y.store, y.clock, "gone"), 2)
	y.fold(t, q)
	y.pass(2 * time.Hour)
	a, b := New(y.store, y.clock, "alice"), New(y.store, y.clock, "bob")
	for range 3 {
		y.append(t, a, 2)
		y.append(t, b, 1)
		held = append(held, y.fold(t, q).Checkpoint)
	}
	y.good(t, 11, 0, held...)
	return y, held
}

// objects are the names under a prefix.
func objects(t *testing.T, s store.Reader, prefix string) []string {
	t.Helper()
	var out []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, info.Key)
	}
	if len(out) == 0 {
		t.Fatalf("nothing under %s", prefix)
	}
	return out
}

// on runs a check on a copy of the yard.
func (y *yard) copied(t *testing.T) *yard {
	t.Helper()
	m, ok := y.store.(*memory)
	if !ok {
		t.Fatal("not in memory")
	}
	return &yard{store: m.copied(), signer: y.signer, now: y.now}
}

// found fails the test unless a finding names the object.
func (y *yard) found(t *testing.T, object string, kinds []FindingKind, held ...Checkpoint) {
	t.Helper()
	v := y.verify(t, held...)
	for _, f := range v.Findings {
		for _, k := range kinds {
			if f.Object == object && f.Kind == k && f.Reason != "" {
				return
			}
		}
	}
	t.Errorf("no finding %v of %s in %v", kinds, object, v.Findings)
}

// TestTamperBits: every bit of every object of the log, but the sequencer's
// memory, counts. One bit is turned in every third byte of records and
// checkpoints, and in some bytes of tiles and bundles.
func TestTamperBits(t *testing.T) {
	y, held := smallLog(t)
	tried := 0
	for _, name := range append(objects(t, y.store, "audit/heads/"), append(objects(t, y.store, "audit/records/"), objects(t, y.store, "audit/log/")...)...) {
		if name == stateName {
			continue
		}
		body := y.read(t, name)
		step := 3
		if strings.Contains(name, "/tile/") {
			step = 29
		}
		for i := 0; i < len(body); i += step {
			turned := bytes.Clone(body)
			turned[i] ^= 1 << (i % 8)
			y.write(t, name, turned)
			v := y.verify(t, held...)
			if v.Good() {
				t.Fatalf("byte %d of %s was changed and nothing is found", i, name)
			}
			named := false
			for _, f := range v.Findings {
				named = named || f.Object == name
			}
			if !named {
				t.Fatalf("byte %d of %s was changed; found: %v", i, name, v.Findings)
			}
			tried++
		}
		y.write(t, name, body)
	}
	if tried < 900 {
		t.Errorf("only %d bytes", tried)
	}
	y.good(t, 11, 0, held...)
}

// TestTamperRemove: whatever is removed is missed.
func TestTamperRemove(t *testing.T) {
	clean, held := smallLog(t)
	partial := 0
	for _, name := range objects(t, clean.store, "audit/") {
		y := clean.copied(t)
		y.remove(t, name)
		v := y.verify(t, held...)
		old := strings.Contains(name, ".p/") && !strings.HasSuffix(name, "/12")
		switch {
		case old || strings.HasPrefix(name, historyPrefix):
			partial++ // of an earlier tree: not needed any more
		case v.Good():
			t.Errorf("%s was removed and nothing is found", name)
		}
	}
	if partial == 0 {
		t.Error("the log has no earlier trees")
	}
}

// TestTamperRecords: each record removed, given another's place, or its bundle
// with it; and the records after the last.
func TestTamperRecords(t *testing.T) {
	clean, held := smallLog(t)
	all := names(t, clean.store)
	for i, name := range all {
		if _, _, ok := parseName(name); !ok {
			continue
		}
		y := clean.copied(t)
		y.remove(t, name)
		y.found(t, name, []FindingKind{Removed}, held...)

		other := all[(i+1)%len(all)]
		if _, _, ok := parseName(other); !ok {
			other = all[(i+2)%len(all)]
		}
		y = clean.copied(t)
		a, b := y.read(t, name), y.read(t, other)
		y.write(t, name, b)
		y.write(t, other, a)
		y.found(t, name, []FindingKind{Changed}, held...)
		y.found(t, other, []FindingKind{Changed}, held...)
	}
}

// forged writes the whole tree anew, as whoever has the store but not the key can,
// and leaves the signed checkpoint.
func (y *yard) forged(t *testing.T, change func(entries [][]byte) [][]byte) {
	t.Helper()
	c, err := unsignedCheckpoint(y.read(t, latestName))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := readBundle(t.Context(), y.store, tileOf(bundle, 0, c.Size))
	if err != nil {
		t.Fatal(err)
	}
	entries = change(entries)
	g, err := grow(newHashes(t.Context(), y.store, Checkpoint{}.tree()), Checkpoint{}.tree(), entries)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range objects(t, y.store, logPrefix+"tile/") {
		y.remove(t, name)
	}
	q := y.sequencer(y.store)
	if err := q.writeTree(t.Context(), g); err != nil {
		t.Fatal(err)
	}
}

// TestTamperTree: the bundles and tiles agree, the streams follow; but the tree is
// not the signed one.
func TestTamperTree(t *testing.T) {
	clean, held := smallLog(t)
	for i := range 12 {
		for what, change := range map[string]func([][]byte) [][]byte{
			"changed": func(e [][]byte) [][]byte {
				e[i] = bytes.Replace(e[i], []byte(`unwrap`), []byte(`refuse`), 1)
				e[i] = bytes.Replace(e[i], []byte(`"closed":true`), []byte(`"closed":true `), 1)
				return e
			},
			"removed":  func(e [][]byte) [][]byte { return append(append([][]byte{}, e[:i]...), e[i+1:]...) },
			"swapped":  func(e [][]byte) [][]byte { e[i], e[(i+1)%12] = e[(i+1)%12], e[i]; return e },
			"repeated": func(e [][]byte) [][]byte { e[i] = e[(i+1)%12]; return e },
		} {
			y := clean.copied(t)
			y.forged(t, change)
			if v := y.verify(t, held...); v.Good() {
				t.Errorf("entry %d %s: nothing is found", i, what)
			}
		}
	}
}

// TestTamperInsert: objects that no writer wrote.
func TestTamperInsert(t *testing.T) {
	clean, held := smallLog(t)
	// Of the streams that go on, bob's is the one of three records.
	var open, ended string
	for _, name := range objects(t, clean.store, headsPrefix) {
		stream, closed, _ := parseHead(name)
		_, err := clean.store.Stat(t.Context(), objectName(stream, 5))
		switch {
		case closed:
			ended = stream
		case errors.Is(err, store.ErrNotFound) && stream != ended:
			open = stream
		}
	}
	if open == "" || ended == "" {
		t.Fatal("smallLog is not what it was")
	}
	v := clean.verify(t)
	body := func(e entry) []byte {
		b, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r := &Record{Time: start, Actor: "mallory", Action: KeyRefuse, Outcome: Allowed}
	at := func(stream string, seq int64) (string, []byte) {
		return objectName(stream, seq), body(entry{Stream: stream, Seq: seq, Prev: digest([]byte("x")), Record: r})
	}
	after, afterBody := at(ended, 3)
	beyond, beyondBody := at(open, 9)
	orphan, orphanBody := at(newStream(start), 4)
	wrong, wrongBody := at(open, 3)
	tests := []struct {
		what, name string
		body       []byte
		object     string
		kind       FindingKind
	}{
		{"after the end", after, afterBody, after, Inserted},
		{"beyond a gap", beyond, beyondBody, objectName(open, 3), Removed},
		{"of no stream", orphan, orphanBody, orphan[:0] + objectName(orphanStream(orphan), 0), Removed},
		{"without the hash", wrong, wrongBody, wrong, Changed},
		{"no record's name", recordsPrefix + "x.json", []byte("x"), recordsPrefix + "x.json", Inserted},
		{"no head's name", headsPrefix + "x.json", []byte("x"), headsPrefix + "x.json", Inserted},
		{"a false end", closedName(open), closedBody(open, 3), closedName(open), Inserted},
		{"no checkpoint's name", historyPrefix + "x", []byte("x"), historyPrefix + "x", Inserted},
		{"no tile's name", logPrefix + "tile/0/000.p/x", []byte("x"), logPrefix + "tile/0/000.p/x", Inserted},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			y := clean.copied(t)
			y.write(t, tt.name, tt.body)
			y.found(t, tt.object, []FindingKind{tt.kind}, held...)
		})
	}
	if !v.Good() {
		t.Error("the clean log is not")
	}
}

func orphanStream(name string) string {
	stream, _, _ := parseName(name)
	return stream
}

// TestTamperCut: the log set back, as a whole, to what it was: only a held
// checkpoint tells.
func TestTamperCut(t *testing.T) {
	y, held := smallLog(t)
	old := y.copied(t)
	q := y.sequencer(y.store)
	y.append(t, New(y.store, y.clock, "carol"), 3)
	f := y.fold(t, q)
	old.found(t, heldName(f.Checkpoint), []FindingKind{Truncated}, append(held, f.Checkpoint)...)
	old.good(t, 11, 0, held...)
}

// TestTamperFork: the same key signs another log, since whoever has it took part:
// only a held checkpoint tells.
func TestTamperFork(t *testing.T) {
	y, held := smallLog(t)
	fork := y.copied(t)
	for i, side := range []*yard{y, fork} {
		side.append(t, New(side.store, side.clock, fmt.Sprint("side", i)), 2)
		held = append(held, side.fold(t, side.sequencer(side.store)).Checkpoint)
	}
	y.good(t, 13, 0, held[:4]...)
	fork.found(t, heldName(held[3]), []FindingKind{Forked}, held...)
	// It has grown since.
	fork.append(t, New(fork.store, fork.clock, "more"), 2)
	fork.fold(t, fork.sequencer(fork.store))
	fork.found(t, heldName(held[3]), []FindingKind{Forked}, held[:4]...)
	fork.good(t, 15, 0, held[:3]...)
}

// TestTamperKey: another key's checkpoint is none.
func TestTamperKey(t *testing.T) {
	y, held := smallLog(t)
	other, err := CreateSigner(filepath.Join(t.TempDir(), "k"), "audit.example")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: held[2].text()}, other)
	if err != nil {
		t.Fatal(err)
	}
	c := held[2]
	c.Signed = signed
	y.found(t, heldName(c), []FindingKind{BadCheckpoint}, c)
	y.write(t, latestName, signed)
	y.found(t, latestName, []FindingKind{BadCheckpoint}, held...)
}

// TestVerifyShares: with more streams than a pass holds, all are looked at, once.
func TestVerifyShares(t *testing.T) {
	y, held := smallLog(t)
	for range 20 {
		y.append(t, New(y.store, y.clock, "cli"), 2)
	}
	v, err := Verify(t.Context(), y.store, VerifyOptions{Verifier: y.signer.Verifier(), Held: held, streams: 3})
	if err != nil || !v.Good() || v.Records != 11 || v.Unsequenced != 40 {
		t.Errorf("%+v, %v", v, err)
	}
}
