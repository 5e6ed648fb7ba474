package dashboard

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-6133abe0/rekey/access"
)

// Wanted is what a second person is asked to release.
type Wanted struct {
	Action  access.Action  `json:"action"`
	Subject access.Subject `json:"subject"`
	Reason  string         `json:"reason"`
}

func (a *API) request(w http.ResponseWriter, r *http.Request) {
	var body Wanted
	if !a.read(w, r, &body) {
		return
	}
	id, err := a.Approvals.Request(r.Context(), caller(r), body.Action, body.Subject, body.Reason)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	answer(w, map[string]string{"request": id})
}

func (a *API) requests(w http.ResponseWriter, r *http.Request) {
	all := []access.Status{}
	for s, err := range a.Approvals.Recent(r.Context()) {
		if err != nil {
			a.fail(w, r, err)
			return
		}
		all = append(all, s)
	}
	answer(w, all)
}

func (a *API) requestOne(w http.ResponseWriter, r *http.Request) {
	s, err := a.Approvals.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	answer(w, s)
}

func (a *API) grant(w http.ResponseWriter, r *http.Request) {
	d, err := a.Approvals.Grant(r.Context(), caller(r), r.PathValue("id"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	answer(w, d)
}

func (a *API) refuse(w http.ResponseWriter, r *http.Request) {
	var body reason
	if !a.read(w, r, &body) {
		return
	}
	if err := a.Approvals.Refuse(r.Context(), caller(r), r.PathValue("id"), body.Reason); err != nil {
		a.fail(w, r, err)
		return
	}
	answer(w, map[string]string{"request": r.PathValue("id"), "standing": string(access.StandingRefused)})
}

// IdentityLine is one identity in the list.
type IdentityLine struct {
	access.Identity
	Revoked bool `json:"revoked,omitempty"`
	// Error is why the identity cannot be believed; it then has an id and no more.
	Error string `json:"error,omitempty"`
}

func (a *API) identities(w http.ResponseWriter, r *http.Request) {
	all := []IdentityLine{}
	for id, err := range a.Identities.List(r.Context()) {
		if err != nil && !errors.Is(err, access.ErrForged) && !errors.Is(err, access.ErrCorrupt) {
			a.fail(w, r, err)
			return
		}
		l := IdentityLine{Identity: id, Revoked: id.Revoked}
		if err != nil {
			l.Error = err.Error()
			a.Engine.Log.Warn("identity cannot be believed", "identity", id.ID, "error", err)
		}
		all = append(all, l)
	}
	answer(w, all)
}

// NewIdentity is who gets a token.
type NewIdentity struct {
	Person  string      `json:"person"`
	Name    string      `json:"name,omitempty"`
	Roles   access.Role `json:"roles"`
	Expires time.Time   `json:"expires,omitzero"`
}

func (a *API) identityGrant(w http.ResponseWriter, r *http.Request) {
	var body NewIdentity
	if !a.read(w, r, &body) {
		return
	}
	token, id, err := a.Identities.Grant(r.Context(), caller(r), access.Grant(body))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	answer(w, map[string]any{"identity": id, "token": token.RevealSecretText()})
}

func (a *API) identityRevoke(w http.ResponseWriter, r *http.Request) {
	var body reason
	if !a.read(w, r, &body) {
		return
	}
	if err := a.Identities.Revoke(r.Context(), caller(r), r.PathValue("id"), body.Reason); err != nil {
		a.fail(w, r, err)
		return
	}
	answer(w, map[string]string{"identity": r.PathValue("id"), "revoked": fmt.Sprint(true)})
}
