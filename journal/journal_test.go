package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

const rotation = "r20261124t101112-abcdef"

func open(t testing.TB) (*journal.Journal, store.Store) {
	t.Helper()
	control, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return journal.New(control), control
}

func plan(asset string) *journal.Plan {
	kid := key.KIDFromURI("old")
	return &journal.Plan{
		Rotation: rotation, Asset: asset, Unit: asset, Base: asset,
		Keys: []journal.KeyChange{{OldKID: kid, NewKID: key.KIDFromURI("new"), Object: &journal.Move{From: "k", To: "k2", ETag: "e", Size: 16}}},
		Tracks: []journal.Track{{
			ID: "t", Format: catalog.AES128, OldKIDs: []key.KID{kid}, Media: true,
			Objects: []journal.Object{{From: "a", To: "b", ETag: "e", Size: 5, KID: kid, IV: key.SequenceIV(7)}, {Number: 1, From: "c", To: "d", ETag: "e", Size: 5}},
		}},
		Manifests: []journal.Move{{From: "m", To: "m", ETag: "e", Kind: catalog.HLS}},
		Parts:     []journal.Part{{N: 0, First: 0, Last: 1, Bytes: 10}},
	}
}

func TestStateIsReplacedOnlyAsItWasRead(t *testing.T) {
	j, _ := open(t)
	ctx := t.Context()
	if _, _, err := j.State(ctx, rotation); !errors.Is(err, journal.ErrNoRotation) {
		t.Fatalf("state of no rotation: %v", err)
	}
	s := journal.State{Rotation: rotation, Phase: journal.Planning, Created: time.Now().UTC()}
	if err := j.SetState(ctx, s, ""); err != nil {
		t.Fatal(err)
	}
	if err := j.SetState(ctx, s, ""); !errors.Is(err, store.ErrPrecondition) {
		t.Errorf("made twice: %v, want ErrPrecondition", err)
	}
	_, etag, err := j.State(ctx, rotation)
	if err != nil {
		t.Fatal(err)
	}
	s.Phase = journal.Working
	if err := j.SetState(ctx, s, etag); err != nil {
		t.Fatal(err)
	}
	if err := j.SetState(ctx, s, etag); !errors.Is(err, store.ErrPrecondition) {
		t.Errorf("replaced as it was before: %v, want ErrPrecondition", err)
	}
	var ids []string
	for id, err := range j.Rotations(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if len(ids) != 1 || ids[0] != rotation {
		t.Errorf("rotations %q", ids)
	}
}

func TestPlansAndPartsComeBack(t *testing.T) {
	j, _ := open(t)
	ctx := t.Context()
	for _, a := range []string{"movie", "shows/a b/1", "m%2Fx", strings.Repeat("long/", 100)} {
		if err := j.AddPlan(ctx, plan(a)); err != nil {
			t.Fatal(err)
		}
		got, err := j.Plan(ctx, rotation, a)
		if err != nil || fmt.Sprint(got.Keys[0].Object, got.Tracks, got.Parts) != fmt.Sprint(plan(a).Keys[0].Object, plan(a).Tracks, plan(a).Parts) {
			t.Errorf("plan of %q came back as %+v, %v", a, got, err)
		}
	}
	r := journal.PartRecord{Part: 3, Worker: "one"}
	for _, name := range []string{"one", "two"} {
		r.Worker = name
		if err := j.AddPart(ctx, rotation, "movie", r); err != nil {
			t.Errorf("part done by %s: %v", name, err)
		}
	}
	for got, err := range j.Parts(ctx, rotation, "movie") {
		if err != nil || got.Worker != "one" {
			t.Errorf("the record that stands is %+v, %v", got, err)
		}
	}
	done, err := j.PartNumbers(ctx, rotation, "movie")
	if err != nil || len(done) != 1 || !done[3] {
		t.Errorf("done %v, %v", done, err)
	}
}

// A record that is no record names itself and changes nothing.
func TestCorruptRecordsNameTheirObject(t *testing.T) {
	good, err := json.Marshal(plan("movie"))
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"empty": "", "cut short": string(good[:len(good)/2]), "no JSON": "hello", "array": "[]",
		"more after it": string(good) + "{}", "unknown member": `{"rotation":"r","colour":"red"}`,
		"part of no track": strings.Replace(string(good), `"track":0`, `"track":1`, 1),
		"objects past end": strings.Replace(string(good), `"last":1`, `"last":2`, 1),
		"negative object":  strings.Replace(string(good), `"first":0`, `"first":-1`, 1),
		"wrong number":     strings.Replace(string(good), `"n":0`, `"n":1`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			j, control := open(t)
			k := "rotations/" + rotation + "/plan/movie.json"
			if _, err := control.Put(t.Context(), k, []byte(body), store.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := j.Plan(t.Context(), rotation, "movie"); !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), k) {
				t.Errorf("error %v, want ErrCorrupt and the object's name", err)
			}
		})
	}
}

func FuzzPlan(f *testing.F) {
	good, err := json.Marshal(plan("movie"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"parts":[{"n":0,"track":9}]}`))
	control, err := store.OpenDir(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	j := journal.New(control)
	f.Fuzz(func(t *testing.T, b []byte) {
		k := "rotations/" + rotation + "/plan/movie.json"
		if _, err := control.Put(t.Context(), k, b, store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		p, err := j.Plan(t.Context(), rotation, "movie")
		if err != nil {
			if !errors.Is(err, journal.ErrCorrupt) {
				t.Fatalf("%v is of no class", err)
			}
			return
		}
		// What was taken can be used without looking further.
		for _, part := range p.Parts {
			_ = p.Tracks[part.Track].Objects[part.First : part.Last+1]
		}
		p.Moves()
		p.KIDs()
		p.Size()
	})
}
