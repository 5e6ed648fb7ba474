package keyring

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

var (
	allStates = []State{Active, Deactivated, Compromised}
	allUses   = []Use{Encrypt, DecryptRekey, Deliver, Export, Verify}
)

// want is the table as it was decided, spelled apart from the code's.
var want = map[string]string{
	"active encrypt": "yes", "active decrypt-rekey": "yes", "active deliver": "yes", "active export": "yes", "active verify": "yes",
	"deactivated encrypt": "no", "deactivated decrypt-rekey": "yes", "deactivated deliver": "yes", "deactivated export": "yes", "deactivated verify": "yes",
	"compromised encrypt": "no", "compromised decrypt-rekey": "rotation", "compromised deliver": "yes", "compromised export": "no", "compromised verify": "yes",
}

// TestTable tries every state, use and rotation, on a ring.
func TestTable(t *testing.T) {
	if len(permissions) != len(allStates) || len(want) != len(allStates)*len(allUses) {
		t.Fatal("a state or a use is missing here")
	}
	for _, s := range allStates {
		if len(permissions[s]) != len(allUses) {
			t.Errorf("%s: %d uses in the table, want %d", s, len(permissions[s]), len(allUses))
		}
		b := newBench(t)
		kid, k := key.NewKID(), key.NewContentKey()
		b.mustImport(t, kid, k)
		if s != Active {
			b.mustSet(t, kid, s)
		}
		for _, u := range allUses {
			for _, rotation := range []string{"", "r1"} {
				t.Run(fmt.Sprintf("%s/%s/%s", s, u, rotation), func(t *testing.T) {
					w := want[string(s)+" "+string(u)]
					tryUse(t, b, kid, k, u, rotation, w == "yes" || w == "rotation" && rotation != "")
					if got := Allows(s, u, rotation); got != (w == "yes" || w == "rotation" && rotation != "") {
						t.Errorf("Allows: %v, want %s", got, w)
					}
				})
			}
		}
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
	for _, s := range append(slices.Clone(allStates), "", "destroyed", "ACTIVE") {
		for _, u := range append(slices.Clone(allUses), "", "decrypt", "ENCRYPT") {
			known := slices.Contains(allStates, s) && slices.Contains(allUses, u)
			if !known && Allows(s, u, "r1") {
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
	words := map[permission]string{never: "no", always: "yes", inRotation: "rotation"}
	head := "state"
	for _, u := range allUses {
		head += " " + string(u)
	}
	if !have[head] {
		t.Errorf("doc.go has no line %q", head)
	}
	for _, s := range allStates {
		row := string(s)
		for _, u := range allUses {
			row += " " + words[permissions[s][u]]
		}
		if !have[row] {
			t.Errorf("doc.go has no line %q", row)
		}
	}
}

// TestTransitions tries every pair of states, and states that are none.
func TestTransitions(t *testing.T) {
	good := map[[2]State]bool{
		{Active, Deactivated}: true, {Active, Compromised}: true, {Deactivated, Compromised}: true,
	}
	for _, from := range allStates {
		for _, to := range append(slices.Clone(allStates), "", "destroyed") {
			t.Run(fmt.Sprintf("%s-%s", from, to), func(t *testing.T) {
				b := newBench(t)
				kid := key.NewKID()
				b.mustImport(t, kid, key.NewContentKey())
				if from != Active {
					b.mustSet(t, kid, from)
				}
				before, err := b.Get(t.Context(), kid)
				if err != nil {
					t.Fatal(err)
				}
				err = b.SetState(t.Context(), kid, to, "because")
				after, getErr := b.Get(t.Context(), kid)
				if getErr != nil {
					t.Fatal(getErr)
				}
				checkMove(t, before, after, to, err, good[[2]State{from, to}])
				outcome := map[bool]string{true: "allowed", false: "refused"}[good[[2]State{from, to}]]
				if from == to {
					outcome = "unchanged"
				}
				if e := b.lastEntry(t); e.Action != "key.state" || e.Outcome != outcome || !strings.Contains(e.Reason, "because") {
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
