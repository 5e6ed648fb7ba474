package rotation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/worker"
)

// weigh pools the evidence for the old keys, track by track.
func (e *Engine) weigh(ctx context.Context, state journal.State, p *journal.Plan) (journal.Outcome, error) {
	o := journal.Outcome{Findings: slices.Clone(p.Findings)}
	tracks := make([]trackEvidence, len(p.Tracks))
	for r, err := range e.Journal().Parts(ctx, p.Rotation, p.Asset) {
		if err != nil {
			return o, err
		}
		if r.Part < 0 || r.Part >= len(p.Parts) {
			return o, fmt.Errorf("weigh asset %s: %w: record of part %d of %d", p.Asset, journal.ErrCorrupt, r.Part, len(p.Parts))
		}
		tracks[p.Parts[r.Part].Track].add(r)
		o.Evidence.Add(r.Evidence)
		o.Findings = append(o.Findings, r.Findings...)
	}
	var others []string // unproved too
	proved := provedKIDs(p, tracks)
	for i, t := range p.Tracks {
		switch v := tracks[i].verdict(); {
		case v == evidence.Wrong:
			o.State, o.Object, o.Reason = journal.AssetFailed, t.ID, worker.ErrWrongKey.Error()
			return o, nil
		case !t.Media || v != evidence.Undecided || t.Proved || state.AcceptUnproved || proved(t):
		case o.State == journal.AssetFailed:
			others = append(others, t.ID)
		default:
			weakest := tracks[i].weakest()
			o.State, o.Object = journal.AssetFailed, t.ID
			o.Reason = fmt.Sprintf("the media does not prove the old key (miss probability %.2g over %d bytes); --accept-unproved publishes it all the same",
				weakest.MissProbability(), weakest.Bytes)
		}
	}
	if len(others) > 0 {
		o.Reason += "; nor do " + strings.Join(others, ", ")
	}
	return o, nil
}

// provedKIDs pools the evidence key by key over the tracks of an asset: audio that
// proves a key proves it for the video under the same KID, where playlists say what
// is encrypted with it. Under Common Encryption each track stands for itself: one
// that only signals encryption must not hide behind another. A key proves no other.
func provedKIDs(p *journal.Plan, tracks []trackEvidence) func(journal.Track) bool {
	byKID := map[key.KID]evidence.Evidence{}
	sure := map[key.KID]bool{}
	for i, t := range p.Tracks {
		if len(t.OldKIDs) == 1 {
			byKID = evidence.Merge(byKID, map[key.KID]evidence.Evidence{t.OldKIDs[0]: tracks[i].all})
		} else {
			byKID = evidence.Merge(byKID, tracks[i].byKID)
		}
		for _, kid := range t.OldKIDs {
			sure[kid] = sure[kid] || t.Proved
		}
	}
	return func(t journal.Track) bool {
		for _, kid := range t.OldKIDs {
			if e := byKID[kid]; !sure[kid] && e.Verdict() != evidence.Right {
				return false
			}
		}
		return t.Format.InPlaylist() && len(t.OldKIDs) > 0
	}
}

// trackEvidence is what the parts of one track say of its old keys. A key that
// is proved proves no other.
type trackEvidence struct {
	all   evidence.Evidence
	byKID map[key.KID]evidence.Evidence
}

func (t *trackEvidence) add(r journal.PartRecord) {
	t.all.Add(r.Evidence)
	t.byKID = evidence.Merge(t.byKID, r.ByKID)
}

// weakest is the evidence for the key that is proved least.
func (t *trackEvidence) weakest() evidence.Evidence {
	out, first := t.all, true
	for _, e := range t.byKID {
		if first || e.ForLog10 > out.ForLog10 {
			out, first = e, false
		}
	}
	return out
}

func (t *trackEvidence) verdict() evidence.Verdict {
	if t.all.Verdict() == evidence.Wrong {
		return evidence.Wrong
	}
	return t.weakest().Verdict()
}
