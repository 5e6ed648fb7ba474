package rotation

import (
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
)

// TestOneKeyProvesNoOther: a track under two old keys is proved when both are.
func TestOneKeyProvesNoOther(t *testing.T) {
	a, b := key.KID{1}, key.KID{2}
	part := func(kid key.KID, forLog10 float64, against int) journal.PartRecord {
		e := evidence.Evidence{ForLog10: forLog10, Against: against, Bytes: 1000}
		return journal.PartRecord{Evidence: e, ByKID: map[key.KID]evidence.Evidence{kid: e}}
	}
	for name, tc := range map[string]struct {
		parts []journal.PartRecord
		want  evidence.Verdict
	}{
		"both right":         {[]journal.PartRecord{part(a, -20, 0), part(b, -20, 0)}, evidence.Right},
		"one says nothing":   {[]journal.PartRecord{part(a, -300, 0), part(b, -1, 0), part(b, -1, 0)}, evidence.Undecided},
		"right in two parts": {[]journal.PartRecord{part(a, -20, 0), part(b, -5, 0), part(b, -6, 0)}, evidence.Right},
		"one is wrong":       {[]journal.PartRecord{part(a, -300, 0), part(b, 0, 3)}, evidence.Wrong},
		"a single key":       {[]journal.PartRecord{{Evidence: evidence.Evidence{ForLog10: -20}}}, evidence.Right},
	} {
		var e trackEvidence
		for _, p := range tc.parts {
			e.add(p)
		}
		if got := e.verdict(); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// TestProvedKIDs: what proves a key in one track proves it for the others under
// it, and for no other key.
func TestProvedKIDs(t *testing.T) {
	shared, alone := key.KID{1}, key.KID{2}
	right, nothing := evidence.Evidence{ForLog10: -20}, evidence.Evidence{}
	p := &journal.Plan{Tracks: []journal.Track{
		{ID: "audio", Format: catalog.SampleAES, OldKIDs: []key.KID{shared}},
		{ID: "video", Format: catalog.SampleAES, OldKIDs: []key.KID{shared}},
		{ID: "other", Format: catalog.SampleAES, OldKIDs: []key.KID{alone}},
		{ID: "both", Format: catalog.SampleAES, OldKIDs: []key.KID{shared, alone}},
		{ID: "mp4", Format: catalog.CENC, OldKIDs: []key.KID{shared}},
	}}
	both := trackEvidence{all: right, byKID: map[key.KID]evidence.Evidence{shared: right}}
	proved := provedKIDs(p, []trackEvidence{{all: right}, {all: nothing}, {all: nothing}, both, {all: nothing}})
	for i, want := range []bool{true, true, false, false, false} {
		if got := proved(p.Tracks[i]); got != want {
			t.Errorf("track %s: proved %v, want %v", p.Tracks[i].ID, got, want)
		}
	}
}
