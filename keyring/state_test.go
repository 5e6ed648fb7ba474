package keyring

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

// want is the table as it was decided, spelled apart from the code's.
var want = map[string]string{
	"pre-activation encrypt": "no", "pre-activation decrypt-rekey": "no", "pre-activation deliver": "no", "pre-activation export": "no", "pre-activation verify": "no",
	"active encrypt": "yes", "active decrypt-rekey": "yes", "active deliver": "yes", "active export": "yes", "active verify": "yes",
	"suspended encrypt": "no", "suspended decrypt-rekey": "yes", "suspended deliver": "yes", "suspended export": "no", "suspended verify": "yes",
	"deactivated encrypt": "no", "deactivated decrypt-rekey": "yes", "deactivated deliver": "yes", "deactivated export": "yes", "deactivated verify": "yes",
	"compromised encrypt": "no", "compromised decrypt-rekey": "rotation", "compromised deliver": "yes", "compromised export": "no", "compromised verify": "rotation",
	"destroyed encrypt": "no", "destroyed decrypt-rekey": "no", "destroyed deliver": "no", "destroyed export": "no", "destroyed verify": "no",
}

// ways lead from a new key to each state.
var ways = map[State][]State{
	Active: nil, Suspended: {Suspended}, Deactivated: {Deactivated}, Compromised: {Compromised},
	Destroyed: {Deactivated, Destroyed},
}

// mustReach brings an active key to a state.
func (b *bench) mustReach(t *testing.T, kid key.KID, s State) {
	t.Helper()
	if s == PreActivation { // nothing leads there: it is made so
		rec, at, err := b.read(t.Context(), kid)
		if err != nil {
			t.Fatal(err)
		}
		rec.State, rec.History[0].State = s, s
		if err := b.replace(t.Context(), rec, at.etag); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range ways[s] {
		b.mustSet(t, kid, to)
	}
}

// TestTable tries every state, use and rotation, on a ring.
func TestTable(t *testing.T) {
	if len(permissions) != len(States()) || len(want) != len(States())*len(Uses()) {
		t.Fatal("a state or a use is missing here")
	}
	for _, s := range States() {
		if len(permissions[s]) != len(Uses()) {
			t.Errorf("%s: %d uses in the table, want %d", s, len(permissions[s]), len(Uses()))
		}
		b := newBench(t)
		kid, k := key.NewKID(), key.NewContentKey()
		b.mustImport(t, kid, k)
		b.mustReach(t, kid, s)
		for _, u := range Uses() {
			for _, rotation := range []string{"", "r1", "r2"} {
				t.Run(fmt.Sprintf("%s/%s/%s", s, u, rotation), func(t *testing.T) {
					w := want[string(s)+" "+string(u)]
					tryUse(t, b, kid, k, u, rotation, w == "yes" || w == "rotation" && rotation == "r1")
					if got := string(Allows(s, u)); got != w {
						t.Errorf("Allows: %s, want %s", got, w)
					}
				})
			}
		}
	}
}

// TestCompromisedForWorkersOnly: no other ring opens a compromised key, nor does
// a worker's without rotations, and none after the window.
func TestCompromisedForWorkersOnly(t *testing.T) {
	b := newBench(t)
	kid := key.NewKID()
	b.mustImport(t, kid, key.NewContentKey())
	b.mustSet(t, kid, Compromised)
	o := b.o
	late := o
	late.Clock = func() time.Time { return start.Add(8 * 24 * time.Hour) }
	blind := o
	blind.Rotations = nil
	for name, r := range map[string]*Ring{
		"no worker": New(o), "late": New(late).AsWorker(), "blind": New(blind).AsWorker(),
	} {
		if got, err := r.Unwrap(t.Context(), kid, DecryptRekey, "r1"); !errors.Is(err, ErrForbidden) || !got.IsZero() {
			t.Errorf("%s: %v, want ErrForbidden and no key", name, err)
		}
	}
	if _, err := b.Unwrap(t.Context(), kid, DecryptRekey, "r1"); err != nil {
		t.Errorf("a worker in time: %v", err)
	}
}

func tryUse(t *testing.T, b *bench, kid key.KID, k key.ContentKey, u Use, rotation string, ok bool) {
	got, err := b.Unwrap(t.Context(), kid, u, rotation)
	e := b.lastEntry(t)
	if e.KID != kid.String() || e.Rotation != rotation || !strings.Contains(e.Reason, string(u)) || e.Actor != "alice" {
		t.Errorf("audit record %+v", e)
	}
	action := "key.unwrap allowed"
	switch {
	case !ok:
		action = "key.refuse refused"
	case u == Export:
		action = "key.export allowed"
	}
	if e.Action+" "+e.Outcome != action {
		t.Errorf("audit: %s %s, want %s", e.Action, e.Outcome, action)
	}
	if ok && (err != nil || !got.Equal(k)) {
		t.Errorf("Unwrap: %v, or another key", err)
	}
	if !ok && (!errors.Is(err, ErrForbidden) || !got.IsZero()) {
		t.Errorf("Unwrap: %v, want ErrForbidden and no key", err)
	}
}

func TestTableKnowsNothingElse(t *testing.T) {
	for _, s := range append(States(), "", "gone", "ACTIVE") {
		for _, u := range append(Uses(), "", "decrypt", "ENCRYPT") {
			known := slices.Contains(States(), s) && slices.Contains(Uses(), u)
			if !known && Allows(s, u) != Never {
				t.Errorf("state %q allows %q", s, u)
			}
		}
	}
}

// TestDocTable: the table in the package's documentation is the table.
func TestDocTable(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for line := range strings.Lines(string(doc)) {
		have[strings.Join(strings.Fields(strings.TrimPrefix(line, "//")), " ")] = true
	}
	head := "state"
	for _, u := range Uses() {
		head += " " + string(u)
	}
	if !have[head] {
		t.Errorf("doc.go has no line %q", head)
	}
	for _, s := range States() {
		row := string(s)
		for _, u := range Uses() {
			row += " " + string(permissions[s][u])
		}
		if !have[row] {
			t.Errorf("doc.go has no line %q", row)
		}
		way := string(s)
		for _, to := range Transitions(s) {
			way += " " + string(to)
		}
		if s != Destroyed && !have[way] {
			t.Errorf("doc.go has no line %q", way)
		}
	}
}

// TestTransitions tries every pair of states, and states that are none.
func TestTransitions(t *testing.T) {
	good := map[[2]State]bool{
		{PreActivation, Active}: true, {PreActivation, Compromised}: true, {PreActivation, Destroyed}: true,
		{Active, Suspended}: true, {Active, Deactivated}: true, {Active, Compromised}: true,
		{Suspended, Active}: true, {Suspended, Deactivated}: true, {Suspended, Compromised}: true,
		{Deactivated, Compromised}: true, {Deactivated, Destroyed}: true, {Compromised, Destroyed}: true,
	}
	for _, from := range States() {
		for _, to := range append(States(), "", "gone") {
			t.Run(fmt.Sprintf("%s-%s", from, to), func(t *testing.T) {
				b := newBench(t)
				kid := key.NewKID()
				b.mustImport(t, kid, key.NewContentKey())
				b.mustReach(t, kid, from)
				before, err := b.Get(t.Context(), kid)
				if err != nil {
					t.Fatal(err)
				}
				err = b.set(t, kid, to, "because")
				after, getErr := b.Get(t.Context(), kid)
				if getErr != nil {
					t.Fatal(getErr)
				}
				checkMove(t, before, after, to, err, good[[2]State{from, to}])
				outcome := map[bool]string{true: "allowed", false: "refused"}[good[[2]State{from, to}]]
				action := "key.state"
				if to == Destroyed {
					action = "key.destroy"
				}
				if from == to {
					outcome = "unchanged"
				}
				if e := b.lastEntry(t); e.Action != action || e.Outcome != outcome || !strings.Contains(e.Reason, "because") {
					t.Errorf("audit record %+v, want key.state %s", e, outcome)
				}
			})
		}
	}
}

func checkMove(t *testing.T, before, after Record, to State, err error, good bool) {
	t.Helper()
	switch {
	case good:
		last := after.History[len(after.History)-1]
		if err != nil || after.State != to || len(after.History) != len(before.History)+1 {
			t.Errorf("SetState: %v; %+v", err, after)
		}
		if last.State != to || last.Actor != "alice" || last.Reason != "because" || last.Time.IsZero() {
			t.Errorf("last event %+v", last)
		}
	case before.State == to:
		if err != nil {
			t.Errorf("SetState to the state it is in: %v", err)
		}
	default:
		if !errors.Is(err, ErrTransition) {
			t.Errorf("SetState: %v, want ErrTransition", err)
		}
	}
	if !good && fmt.Sprintf("%+v", after) != fmt.Sprintf("%+v", before) {
		t.Errorf("the record changed: %+v, was %+v", after, before)
	}
}
