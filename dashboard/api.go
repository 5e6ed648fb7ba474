package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
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
	// before is asked before the approval is used up. It may be nil.
	before func(http.ResponseWriter, *http.Request) (context.Context, bool)
}

// Routes lists the API.
func (a *API) Routes() []Route {
	return []Route{
		{"GET", "/api/v1/keys", access.KeysList, false, a.keys, nil, nil},
		{"GET", "/api/v1/keys/{kid}", access.KeysShow, false, a.key, nil, nil},
		{"POST", "/api/v1/keys/{kid}/state", access.KeysState, false, a.keyState, nil, nil},
		{"POST", "/api/v1/keys/{kid}/export", access.KeysExport, true, a.keyExport, a.kidSubject, a.exportable},
		{"POST", "/api/v1/keys/{kid}/destroy", access.KeysDestroy, true, a.keyDestroy, a.kidSubject, a.keyDestroyable},
		{"POST", "/api/v1/backup", access.KeysBackup, true, a.backup, a.backupSubject, a.backupable},
		{"GET", "/api/v1/restore/key", access.KeysShow, false, a.restoreKey, nil, nil},
		{"POST", "/api/v1/restore", access.KeysRestore, true, a.restore, a.restoreSubject, a.restorable},
		{"GET", "/api/v1/keks", access.KEKList, false, a.keks, nil, nil},
		{"POST", "/api/v1/keks/destroy", access.KEKDestroy, true, a.kekDestroy, a.kekSubject, a.kekDestroyable},
		{"POST", "/api/v1/rotations", access.RotationStart, false, a.rotationStart, nil, nil},
		{"GET", "/api/v1/rotations", access.RotationStatus, false, a.rotations, nil, nil},
		{"GET", "/api/v1/rotations/{id}", access.RotationStatus, false, a.rotation, nil, nil},
		{"GET", "/api/v1/audit", access.AuditRead, false, a.auditTail, nil, nil},
		{"GET", "/api/v1/requests", access.ApprovalList, false, a.requests, nil, nil},
		{"POST", "/api/v1/requests", access.ApprovalRequest, false, a.request, nil, nil},
		{"GET", "/api/v1/requests/{id}", access.ApprovalList, false, a.requestOne, nil, nil},
		{"POST", "/api/v1/requests/{id}/grant", access.ApprovalGrant, false, a.grant, nil, nil},
		// Whoever may see a request gets here; Refuse itself asks who may end it: an
		// approver, and whoever asked.
		{"POST", "/api/v1/requests/{id}/refuse", access.ApprovalList, false, a.refuse, nil, nil},
		{"GET", "/api/v1/identities", access.IdentityList, false, a.identities, nil, nil},
		{"POST", "/api/v1/identities", access.IdentityGrant, false, a.identityGrant, nil, nil},
		{"POST", "/api/v1/identities/{id}/revoke", access.IdentityRevoke, false, a.identityRevoke, nil, nil},
	}
}

// Handler serves the routes.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range a.Routes() {
		var h http.Handler
		if r.Approved {
			h = a.Approvals.Guard(access.Deed{Action: r.Action, Subject: r.subject, Before: r.before}, r.serve)
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
func (a *API) read(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
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
		a.fail(w, r, fmt.Errorf("%w: read request: %w", access.ErrInvalid, err))
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
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	if s := status(err); s >= http.StatusInternalServerError {
		LogFault(a.Engine.Log)(r, s, err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status(err))
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error(), "class": http.StatusText(status(err))})
}

// LogFault logs what was answered with a status of 500 or more, and why. It is for
// [access.Options], too.
func LogFault(log *slog.Logger) func(r *http.Request, status int, err error) {
	return func(r *http.Request, status int, err error) {
		log.Error("request failed", "method", r.Method, "path", r.URL.Path, "status", status, "error", err)
	}
}

// status is the HTTP status of an error. A restore that failed for what is behind the
// server is not put down to what was sent.
func status(err error) int {
	if errors.Is(err, errRestore) && outage(err) {
		return http.StatusServiceUnavailable
	}
	for _, c := range []struct {
		err  error
		code int
	}{
		{keyring.ErrNotFound, http.StatusNotFound}, {kms.ErrNotFound, http.StatusNotFound},
		{catalog.ErrInUse, http.StatusConflict}, {catalog.ErrNotScanned, http.StatusConflict},
		{keyring.ErrForbidden, http.StatusConflict}, {keyring.ErrTransition, http.StatusConflict},
		{keyring.ErrExists, http.StatusConflict}, {keyring.ErrKEKInUse, http.StatusConflict},
		{keyring.ErrSyntax, http.StatusBadRequest}, {key.ErrSyntax, http.StatusBadRequest},
		{rotation.ErrNothing, http.StatusNotFound}, {rotation.ErrNoHandover, http.StatusConflict},
		{store.ErrUnavailable, http.StatusServiceUnavailable},
		{kms.ErrUnavailable, http.StatusServiceUnavailable}, {kms.ErrThrottled, http.StatusServiceUnavailable},
		{kms.ErrDisabled, http.StatusConflict},
		{errRestore, http.StatusUnprocessableEntity},
	} {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return access.HTTPStatus(err)
}

// kid is the path's; a bad one has been answered.
func (a *API) kid(w http.ResponseWriter, r *http.Request) (key.KID, bool) {
	k, err := key.ParseKID(r.PathValue("kid"))
	if err != nil {
		a.fail(w, r, err)
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
