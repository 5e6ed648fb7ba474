package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
)

// API is what may be asked over HTTP, by whom the roles allow. All fields must be
// set.
type API struct {
	Identities *access.Identities
	Approvals  *access.Approvals
	Engine     *rotation.Engine
	Control    store.Store
	Audit      *audit.Log
	// Restore puts keys back from a backup.
	Restore *Restorer
	// KEKs describes and switches the KEKs.
	KEKs KEKs
}

// Route is one entry of the API: who may do what where. Approved routes need the
// approval of a second person besides, named in the header Rekey-Approval.
type Route struct {
	Method, Path string
	Action       access.Action
	Approved     bool
	serve        http.HandlerFunc
	subject      func(*http.Request) (access.Subject, error)
}

// Routes lists the API.
func (a *API) Routes() []Route {
	return []Route{
		{"GET", "/api/v1/keys", access.KeysList, false, a.keys, nil},
		{"GET", "/api/v1/keys/{kid}", access.KeysShow, false, a.key, nil},
		{"POST", "/api/v1/keys/{kid}/state", access.KeysState, false, a.keyState, nil},
		{"POST", "/api/v1/keys/{kid}/export", access.KeysExport, true, a.keyExport, a.kidSubject},
		{"POST", "/api/v1/keys/{kid}/destroy", access.KeysDestroy, true, a.keyDestroy, a.kidSubject},
		{"GET", "/api/v1/restore/key", access.KeysShow, false, a.restoreKey, nil},
		{"POST", "/api/v1/restore", access.KeysRestore, true, a.restore, a.restoreSubject},
		{"GET", "/api/v1/keks", access.KEKList, false, a.keks, nil},
		{"POST", "/api/v1/keks/destroy", access.KEKDestroy, true, a.kekDestroy, a.kekSubject},
		{"POST", "/api/v1/rotations", access.RotationStart, false, a.rotationStart, nil},
		{"GET", "/api/v1/rotations", access.RotationStatus, false, a.rotations, nil},
		{"GET", "/api/v1/rotations/{id}", access.RotationStatus, false, a.rotation, nil},
		{"GET", "/api/v1/audit", access.AuditRead, false, a.auditTail, nil},
		{"GET", "/api/v1/requests", access.ApprovalList, false, a.requests, nil},
		{"POST", "/api/v1/requests", access.ApprovalRequest, false, a.request, nil},
		{"GET", "/api/v1/requests/{id}", access.ApprovalList, false, a.requestOne, nil},
		{"POST", "/api/v1/requests/{id}/grant", access.ApprovalGrant, false, a.grant, nil},
		// Whoever may see a request gets here; Refuse itself asks who may end it: an
		// approver, and whoever asked.
		{"POST", "/api/v1/requests/{id}/refuse", access.ApprovalList, false, a.refuse, nil},
		{"GET", "/api/v1/identities", access.IdentityList, false, a.identities, nil},
		{"POST", "/api/v1/identities", access.IdentityGrant, false, a.identityGrant, nil},
		{"POST", "/api/v1/identities/{id}/revoke", access.IdentityRevoke, false, a.identityRevoke, nil},
	}
}

// Handler serves the routes.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range a.Routes() {
		var h http.Handler
		if r.Approved {
			h = a.Approvals.Guard(r.Action, r.subject, r.serve)
		} else {
			h = access.Guard(a.Identities, r.Action, r.serve)
		}
		mux.Handle(r.Method+" "+r.Path, h)
	}
	return mux
}

// ring acts in the name of who asked.
func (a *API) ring(ctx context.Context) *keyring.Ring {
	c, _ := access.CallerFrom(ctx)
	return a.Engine.Ring.For(keyring.Asker{Person: c.Person, Role: c.Role.String(), Origin: c.Origin, Client: c.ID})
}

// caller is who asked; the guard has put it there.
func caller(r *http.Request) access.Identity {
	c, _ := access.CallerFrom(r.Context())
	return c.Identity
}

const maxBody = 1 << 20 // bytes of a JSON request

// read decodes a JSON body, strictly; a bad one has been answered.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	return readUpTo(w, r, maxBody, v)
}

func readUpTo(w http.ResponseWriter, r *http.Request, limit int64, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); !errors.Is(err, io.EOF) {
			err = errors.New("more than one JSON value")
		} else {
			err = nil
		}
	}
	if err != nil {
		fail(w, fmt.Errorf("%w: read request: %w", access.ErrInvalid, err))
		return false
	}
	return true
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the connection is gone: nobody is left to tell
}

// fail answers with an error in the shape of the command line's.
func fail(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status(err))
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error(), "class": http.StatusText(status(err))})
}

// status is the HTTP status of an error.
func status(err error) int {
	for _, c := range []struct {
		err  error
		code int
	}{
		{keyring.ErrNotFound, http.StatusNotFound},
		{catalog.ErrInUse, http.StatusConflict}, {catalog.ErrNotScanned, http.StatusConflict},
		{keyring.ErrForbidden, http.StatusConflict}, {keyring.ErrTransition, http.StatusConflict},
		{keyring.ErrExists, http.StatusConflict}, {keyring.ErrKEKInUse, http.StatusConflict},
		{keyring.ErrSyntax, http.StatusBadRequest}, {key.ErrSyntax, http.StatusBadRequest},
		{rotation.ErrNothing, http.StatusNotFound}, {rotation.ErrNoHandover, http.StatusConflict},
		{errRestore, http.StatusUnprocessableEntity},
		{store.ErrUnavailable, http.StatusServiceUnavailable},
	} {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return access.HTTPStatus(err)
}

// kid is the path's; a bad one has been answered.
func kid(w http.ResponseWriter, r *http.Request) (key.KID, bool) {
	k, err := key.ParseKID(r.PathValue("kid"))
	if err != nil {
		fail(w, err)
		return key.KID{}, false
	}
	return k, true
}

func (a *API) kidSubject(r *http.Request) (access.Subject, error) {
	k, err := key.ParseKID(r.PathValue("kid"))
	if err != nil {
		return access.Subject{}, fmt.Errorf("%w: %w", access.ErrInvalid, err)
	}
	return access.Subject{KID: k}, nil
}

// reason is a body with why.
type reason struct {
	Reason string `json:"reason"`
}

func (r reason) check() error {
	if strings.TrimSpace(r.Reason) == "" {
		return fmt.Errorf("%w: no reason given", access.ErrInvalid)
	}
	return nil
}
