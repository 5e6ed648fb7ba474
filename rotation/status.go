package rotation

import (
	"context"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
)

// Status is how a rotation stands. JSON shape as the command line prints it.
type Status struct {
	Rotation string        `json:"rotation"`
	State    journal.Phase `json:"state"`
	Kind     journal.Kind  `json:"kind"`
	Reason   string        `json:"reason,omitempty"`
	// Halt is who paused or cancelled it.
	Halt *journal.Halt `json:"halt,omitempty"`
	// Parts counts the planned parts, PartsDone those with a record.
	Parts     int           `json:"parts"`
	PartsDone int           `json:"parts_done"`
	Assets    []AssetStatus `json:"assets"`
}

// AssetStatus is how one asset stands.
type AssetStatus struct {
	Asset  string             `json:"asset"`
	State  journal.AssetState `json:"state"`
	Object string             `json:"object,omitempty"`
	Reason string             `json:"reason,omitempty"`
	Tracks []TrackStatus      `json:"tracks"`
	// Findings are things seen in the old media that its owner should know.
	Findings []string `json:"findings,omitempty"`
}

// TrackStatus is one changed key of one track.
type TrackStatus struct {
	Track   string  `json:"track"`
	OldKID  key.KID `json:"old_kid"`
	NewKID  key.KID `json:"new_kid"`
	Objects int     `json:"objects"`
	Bytes   int64   `json:"bytes"`
}

// Status reads how a rotation stands.
func (e *Engine) Status(ctx context.Context, id string) (Status, error) {
	state, _, err := e.Journal().State(ctx, id)
	if err != nil {
		return Status{}, err
	}
	s := Status{Rotation: id, State: state.Phase, Kind: state.Kind, Reason: state.Reason, Halt: state.Halt, Assets: []AssetStatus{}}
	for p, err := range e.Journal().Plans(ctx, id) {
		if err != nil {
			return s, err
		}
		o, _, err := e.Journal().Outcome(ctx, id, p.Asset)
		if err != nil {
			return s, err
		}
		done, err := e.Journal().PartNumbers(ctx, id, p.Asset)
		if err != nil {
			return s, err
		}
		s.Parts += len(p.Parts)
		s.PartsDone += len(done)
		if o.State == journal.AssetPending && state.Phase == journal.Cancelled {
			if err := e.givenUp(ctx, p, &o); err != nil {
				return s, err
			}
		}
		as := AssetStatusOf(p)
		as.State, as.Object, as.Reason, as.Findings = o.State, o.Object, o.Reason, o.Findings
		s.Assets = append(s.Assets, as)
	}
	return s, nil
}

// givenUp is what an asset of a cancelled rotation shows while nothing on record
// says what became of it.
func (e *Engine) givenUp(ctx context.Context, p *journal.Plan, o *journal.Outcome) error {
	begun, err := e.begun(ctx, p)
	o.State = journal.AssetCancelled
	if begun {
		o.State, o.Object, o.Reason = journal.AssetPending, p.Asset, "its flips had begun when the rotation was cancelled; whoever is at it ends them, or rekey clean"
	}
	return err
}

// AssetStatusOf is what a plan says of its asset before any work.
func AssetStatusOf(p *journal.Plan) AssetStatus {
	as := AssetStatus{Asset: p.Asset, State: journal.AssetPending, Tracks: []TrackStatus{}}
	if p.Refusal != nil {
		as.State, as.Object, as.Reason = journal.AssetRefused, p.Refusal.Object, p.Refusal.Reason
		if p.Refusal.Failed {
			as.State = journal.AssetFailed
		}
	}
	kids := p.KIDs()
	for _, t := range p.Tracks {
		for _, old := range t.OldKIDs {
			ts := TrackStatus{Track: t.ID, OldKID: old, NewKID: kids[old]}
			for _, o := range t.Objects {
				if len(t.OldKIDs) == 1 || o.KID == old {
					ts.Objects++
					ts.Bytes += o.Size
				}
			}
			as.Tracks = append(as.Tracks, ts)
		}
	}
	return as
}
