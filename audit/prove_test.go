package audit

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestProve(t *testing.T) {
	y := newYard(t, newMemory())
	l := New(y.store, y.clock, "alice")
	q := y.sequencer(y.store)
	v := y.signer.Verifier()
	y.append(t, l, 200)
	first := y.fold(t, q).Checkpoint
	y.append(t, l, 100)
	last := y.fold(t, q).Checkpoint
	y.append(t, l, 1)
	all := names(t, y.store)
	for _, i := range []int{0, 1, 199, 200, 255, 256, 299} {
		p, err := Prove(t.Context(), y.store, all[i], ProveOptions{Verifier: v})
		if err != nil || p.Index != int64(i) {
			t.Fatalf("record %d: %d, %v", i, p.Index, err)
		}
		b, err := p.JSON()
		if err != nil {
			t.Fatal(err)
		}
		p, err = ParseProof(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, held := range [][]Checkpoint{nil, {last}, {first, last}} {
			if e, err := p.Check(v, held); err != nil || e.KID != mustRecord(t, y.read(t, all[i])).KID {
				t.Errorf("record %d: %+v, %v", i, e, err)
			}
		}
		if _, err := p.Check(v, []Checkpoint{first}); !errors.Is(err, ErrProof) {
			t.Errorf("record %d against a checkpoint that is not the proof's: %v", i, err)
		}
		if old, err := Prove(t.Context(), y.store, all[i], ProveOptions{Verifier: v, Held: []Checkpoint{first}}); i < 200 {
			if err != nil {
				t.Fatal(err)
			}
			if _, err := old.Check(v, []Checkpoint{first}); err != nil {
				t.Errorf("record %d: %v", i, err)
			}
		} else if !errors.Is(err, ErrNotSequenced) {
			t.Errorf("record %d was not in the first tree: %v", i, err)
		}
	}
	if _, err := Prove(t.Context(), y.store, all[300], ProveOptions{Verifier: v}); !errors.Is(err, ErrNotSequenced) {
		t.Errorf("a record that is not sequenced: %v", err)
	}
	if _, err := Prove(t.Context(), y.store, "x/1", ProveOptions{Verifier: v}); !errors.Is(err, ErrInvalid) {
		t.Errorf("no id: %v", err)
	}
}

func mustRecord(t *testing.T, b []byte) Record {
	t.Helper()
	e, err := decodeEntry("x", b)
	if err != nil {
		t.Fatal(err)
	}
	return *e.Record
}

// TestProofTampered: whatever is changed in a proof breaks it.
func TestProofTampered(t *testing.T) {
	y, held := smallLog(t)
	v := y.signer.Verifier()
	good, err := Prove(t.Context(), y.store, names(t, y.store)[1], ProveOptions{Verifier: v})
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(p *Proof){
		"index":      func(p *Proof) { p.Index++ },
		"negative":   func(p *Proof) { p.Index = -1 },
		"entry":      func(p *Proof) { p.Entry = bytes.Replace(p.Entry, []byte("gone"), []byte("here"), 1) },
		"object":     func(p *Proof) { p.Object = names(t, y.store)[2] },
		"a hash":     func(p *Proof) { p.Hashes[1][3]++ },
		"no hash":    func(p *Proof) { p.Hashes = p.Hashes[1:] },
		"more":       func(p *Proof) { p.Hashes = append(p.Hashes, p.Hashes[0]) },
		"checkpoint": func(p *Proof) { p.Checkpoint = string(held[1].Signed) },
		"signature":  func(p *Proof) { p.Checkpoint = strings.Replace(p.Checkpoint, "\n12\n", "\n13\n", 1) },
	} {
		p := good
		p.Hashes = append(p.Hashes[:0:0], good.Hashes...)
		change(&p)
		if e, err := p.Check(v, held); !errors.Is(err, ErrProof) && !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s: %+v, %v", what, e, err)
		}
	}
	if _, err := good.Check(v, held); err != nil {
		t.Error(err)
	}
}

func FuzzProof(f *testing.F) {
	f.Add([]byte(`{"object":"x","index":1,"entry":"YQ==","hashes":["47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],"checkpoint":"a\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if err != nil && !errors.Is(err, ErrProof) {
			t.Fatalf("%v is of no class", err)
		}
		if err := p.check(Checkpoint{Size: 9}); err == nil {
			t.Fatal("proves a record of a tree that has none")
		}
	})
}

func TestExport(t *testing.T) {
	nasty := []string{"=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", " =1", "＝1", "\u00a0=1", "plain", "a=b", "", "5,6", "two\nlines", `say "x"`}
	var csvOut, jsonOut bytes.Buffer
	c, j := NewCSV(&csvOut), NewJSON(&jsonOut)
	for _, s := range nasty {
		e := Entry{ID: "s/1", Record: Record{Time: start, Actor: s, Action: KeyExport, Outcome: Allowed, Reason: s, StateVersion: 3}}
		for _, x := range []Exporter{c, j} {
			if err := x.Write(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(c.Flush(), j.Flush()); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&csvOut).ReadAll()
	if err != nil || len(rows) != len(nasty)+1 || !reflect.DeepEqual(rows[0], exportColumns()) {
		t.Fatalf("%d rows (%v)", len(rows), err)
	}
	for i, s := range nasty {
		got := rows[i+1][2]
		if safe := i >= 10; got != s && (safe || got != "'"+s && got != "'"+strings.ReplaceAll(s, "\r", "")) {
			t.Errorf("%q is exported as %q", s, got)
		} else if !safe && !strings.HasPrefix(got, "'") {
			t.Errorf("%q is exported as the formula %q", s, got)
		}
	}
	lines := strings.Split(strings.TrimSpace(jsonOut.String()), "\n")
	if len(lines) != len(nasty) {
		t.Fatalf("%d lines", len(lines))
	}
	var line struct {
		ID, Actor string
		Reviews   map[string]string
	}
	if err := json.Unmarshal([]byte(lines[0]), &line); err != nil || line.Actor != "=1+1" || line.ID != "s/1" || line.Reviews["fips_140_3"] == "" {
		t.Errorf("%s: %v", lines[0], err)
	}
	var empty bytes.Buffer
	if err := NewCSV(&empty).Flush(); err != nil || !strings.HasPrefix(empty.String(), "id,time,") {
		t.Errorf("without records: %q, %v", empty.String(), err)
	}
}

// TestReviews: the table in the documentation is the one in the code, and every
// action has its row.
func TestReviews(t *testing.T) {
	doc, err := os.ReadFile("REVIEWS.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), ReviewTable()) {
		t.Errorf("REVIEWS.md does not hold the table:\n%s", ReviewTable())
	}
	source, err := os.ReadFile("record.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(source)) {
		_, value, ok := strings.Cut(line, ` = "`)
		action, _, _ := strings.Cut(value, `"`)
		if !ok || !strings.Contains(action, ".") {
			continue
		}
		n++
		if r := reviewOf(action); r == (Review{Action: action}) {
			t.Errorf("%s has no row", action)
		}
	}
	if n != len(Reviews()) {
		t.Errorf("%d actions and %d rows", n, len(Reviews()))
	}
}

// TestTail: the newest records, whether sequenced or not, and those that come.
func TestTail(t *testing.T) {
	for _, sequenced := range []bool{false, true} {
		y := newYard(t, newMemory())
		q := y.sequencer(y.store)
		a, b := New(y.store, y.clock, "alice"), New(y.store, y.clock, "bob")
		y.append(t, a, 300)
		if sequenced {
			y.fold(t, q)
		}
		y.append(t, b, 3)
		tail := NewTail(y.store, y.clock)
		got, err := tail.Last(t.Context(), 5)
		if err != nil || len(got) != 5 || got[1].Actor != "alice" || got[1].KID != "299" || got[4].Actor != "bob" || got[4].KID != "2" {
			t.Fatalf("%v, %v", got, err)
		}
		if got, err := tail.Next(t.Context()); err != nil || len(got) != 0 {
			t.Errorf("%v, %v", got, err)
		}
		y.append(t, a, 1)
		y.append(t, New(y.store, y.clock, "carol"), 2)
		if sequenced { // what is sequenced meanwhile is still new, as is what follows an end
			y.fold(t, q)
		}
		got, err = tail.Next(t.Context())
		if err != nil || len(got) != 3 || got[0].Actor != "alice" || got[2].Actor != "carol" {
			t.Errorf("%v, %v", got, err)
		}
		if sequenced {
			y.pass(20 * time.Minute)
			y.fold(t, q)
		}
		y.append(t, a, 1)
		if got, err := tail.Next(t.Context()); err != nil || len(got) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	}
}
