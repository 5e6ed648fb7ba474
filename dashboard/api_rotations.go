package dashboard

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/rotation"
)

// NewRotation is a compromise to be rotated. A dry run plans and changes nothing.
type NewRotation struct {
	KIDs           []key.KID `json:"kids"`
	Asset          string    `json:"asset,omitempty"`
	Reason         string    `json:"reason"`
	AcceptUnproved bool      `json:"accept_unproved,omitempty"`
	DryRun         bool      `json:"dry_run,omitempty"`
}

func (a *API) rotationStart(w http.ResponseWriter, r *http.Request) {
	var body NewRotation
	if !a.read(w, r, &body) {
		return
	}
	if len(body.KIDs) == 0 {
		a.fail(w, r, fmt.Errorf("%w: no kids", access.ErrInvalid))
		return
	}
	if err := (reason{body.Reason}).check(); err != nil {
		a.fail(w, r, err)
		return
	}
	c, _ := access.CallerFrom(r.Context())
	e := *a.Engine
	e.Ring, e.Actor = a.ring(r.Context()), c.Person
	e.Audit = audit.New(a.Control, e.Clock, c.Person) // the engine's records name its log's actor
	p, err := e.Start(r.Context(), rotation.Request{
		Kind: journal.Compromise, KIDs: body.KIDs, Asset: body.Asset, Reason: body.Reason,
		AcceptUnproved: body.AcceptUnproved, DryRun: body.DryRun,
	})
	if err != nil {
		a.fail(w, r, err)
		return
	}
	assets := []rotation.AssetStatus{}
	for _, plan := range p.Plans {
		assets = append(assets, rotation.AssetStatusOf(plan))
	}
	answer(w, map[string]any{"rotation": p.Rotation, "assets": assets, "opaque": p.Opaque})
}

func (a *API) rotations(w http.ResponseWriter, r *http.Request) {
	all := []rotation.Status{}
	for id, err := range a.Engine.Journal().Rotations(r.Context()) {
		if err != nil {
			a.fail(w, r, err)
			return
		}
		s, err := a.Engine.Status(r.Context(), id)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		all = append(all, s)
	}
	answer(w, all)
}

func (a *API) rotation(w http.ResponseWriter, r *http.Request) {
	s, err := a.Engine.Status(r.Context(), r.PathValue("id"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	answer(w, s)
}

// maxTail bounds the records of one answer.
const maxTail = 10_000

// auditTail is the newest n records, oldest first.
func (a *API) auditTail(w http.ResponseWriter, r *http.Request) {
	n := 100
	if s := r.URL.Query().Get("n"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1 || n > maxTail {
			a.fail(w, r, fmt.Errorf("%w: n is not 1 to %d", access.ErrInvalid, maxTail))
			return
		}
	}
	entries, err := audit.NewTail(a.Control, a.Engine.Clock).Last(r.Context(), n)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out := []audit.Record{}
	for _, e := range entries {
		out = append(out, e.Record)
	}
	answer(w, out)
}
