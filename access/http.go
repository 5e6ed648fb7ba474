package access

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/store"
)

// ApprovalHeader names the request whose approval an HTTP request uses.
const ApprovalHeader = "Rekey-Approval"

// FromRequest authenticates by the one Authorization header: a bearer token
// (RFC 6750 §2.1), or the password of basic authentication (RFC 7617) under any
// user name, which is what browsers can send. Errors are Authenticate's.
func (i *Identities) FromRequest(r *http.Request) (Identity, error) {
	return i.Authenticate(r.Context(), credentials(r))
}

// credentials is empty where there are none, or several.
func credentials(r *http.Request) string {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if strings.EqualFold(scheme, "Bearer") { // RFC 9110 §11.1: in any case
		return strings.Trim(token, " ")
	}
	_, password, _ := r.BasicAuth()
	return password
}

// Guard lets requests through to next that come with a token whose roles allow a,
// and puts the [Caller] in their context. All others are refused, on record with
// the address they came from; whoever keeps failing is slowed down. A request that
// a browser makes for another site is refused as well.
//
// An action that needs a second person does not pass here: see [Approvals.Guard].
func Guard(i *Identities, a Action, next http.Handler) http.Handler {
	return i.guard(a, func(w http.ResponseWriter, r *http.Request) {
		if NeedsApproval(a) {
			i.refuse(w, r, a, fmt.Errorf("%w: %s", ErrApprovalNeeded, a))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Guard is [Guard] for an action that needs a second person: the request names its
// approval in the header Rekey-Approval, and the approval is used up before next,
// which finds it with [ApprovalFrom]. next does the action on that subject only, and
// checks that what it reads has the subject's digest.
func (a *Approvals) Guard(d Deed, next http.Handler) http.Handler {
	return a.ids.guard(d.Action, func(w http.ResponseWriter, r *http.Request) {
		s, err := d.Subject(r)
		if err != nil {
			a.ids.answer(w, r, err)
			return
		}
		id := r.Header.Get(ApprovalHeader)
		if id == "" {
			a.ids.refuse(w, r, d.Action, fmt.Errorf("%w: %s of %s", ErrApprovalNeeded, d.Action, s))
			return
		}
		caller, _ := CallerFrom(r.Context())
		if d.Before != nil {
			if err := a.Check(r.Context(), caller.Identity, id, d.Action, s); err != nil {
				a.ids.answer(w, r, err)
				return
			}
			ctx, ok := d.Before(w, r)
			if !ok {
				return
			}
			r = r.WithContext(ctx)
		}
		approval, err := a.Use(r.Context(), caller.Identity, id, d.Action, s)
		if err != nil {
			a.ids.answer(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), approvalKey{}, approval)))
	})
}

// Deed is an action that needs a second person, as it is asked for over HTTP.
type Deed struct {
	Action Action
	// Subject says what a request is about. An error is answered with
	// [HTTPStatus]: of class ErrInvalid it is told to the client.
	Subject func(*http.Request) (Subject, error)
	// Before sees what next would refuse, so that a refusal does not cost the
	// approval: it is asked where one is named that could be used now, and is not
	// yet. What it looks at may change before next is asked, which looks again.
	// ok says to go on, with ctx; else it has answered, and put on record why. Nil:
	// nothing is looked at.
	Before func(w http.ResponseWriter, r *http.Request) (ctx context.Context, ok bool)
}

type approvalKey struct{}

// ApprovalFrom is the approval under which a request is served.
func ApprovalFrom(ctx context.Context) (Approval, bool) {
	a, ok := ctx.Value(approvalKey{}).(Approval)
	return a, ok
}

// guard knows who asks and that their roles allow a, or answers itself.
func (i *Identities) guard(a Action, next http.HandlerFunc) http.Handler {
	sites := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := i.o.Origin(r)
		if wait := i.o.Limiter.Wait(origin); wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
			http.Error(w, "too many failures", http.StatusTooManyRequests)
			return
		}
		id, err := i.FromRequest(r)
		if err != nil {
			i.unauthenticated(r, a, origin, err)
			i.answer(w, r, err)
			return
		}
		i.o.Limiter.Succeeded(origin)
		r = r.WithContext(WithCaller(r.Context(), Caller{Identity: id, Role: id.Roles, Origin: origin}))
		if err := sites.Check(r); err != nil {
			i.refuse(w, r, a, fmt.Errorf("%w: %w", ErrForbidden, err))
			return
		}
		role, err := i.Authorize(r.Context(), id, a)
		if err != nil {
			i.answer(w, r, err)
			return
		}
		next(w, r.WithContext(WithCaller(r.Context(), Caller{Identity: id, Role: role, Origin: origin})))
	})
}

// unauthenticated puts on record that somebody was not let in, unless there are too
// many of them: the log is not theirs to fill. Where it cannot be written they are
// refused all the same.
func (i *Identities) unauthenticated(r *http.Request, a Action, origin string, err error) {
	if !isOneOf(err, refusals...) {
		return // the store failed, and nobody was judged
	}
	write, unrecorded := i.o.Limiter.Failed(origin)
	if !write {
		return
	}
	e := audit.Record{Action: audit.RoleRefuse, Actor: unknownActor, Origin: origin, Object: string(a), Reason: classOf(err)}
	if id, ok := tokenID(credentials(r)); ok {
		e.Client = id // as claimed
	}
	if unrecorded > 0 {
		e.Reason += fmt.Sprintf(" (and %d more like it that are not on record)", unrecorded)
	}
	_ = i.settle(r.Context(), e, err)
}

// refuse puts on record that a request was refused, and answers it.
func (i *Identities) refuse(w http.ResponseWriter, r *http.Request, a Action, err error) {
	caller, _ := CallerFrom(r.Context())
	e := caller.Record(audit.Record{Action: audit.RoleRefuse, Object: string(a)})
	i.answer(w, r, i.settle(r.Context(), e, err))
}

// answer tells a client what it may know of err, and whoever runs the server what
// it may not.
func (i *Identities) answer(w http.ResponseWriter, r *http.Request, err error) {
	status := HTTPStatus(err)
	if status >= http.StatusInternalServerError && i.o.Fault != nil {
		i.o.Fault(r, status, err)
	}
	text := http.StatusText(status)
	switch status {
	case http.StatusUnauthorized:
		w.Header().Add("WWW-Authenticate", `Bearer realm="rekey"`)
		w.Header().Add("WWW-Authenticate", `Basic realm="rekey", charset="UTF-8"`)
		text = notAccepted
	case http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusBadRequest, http.StatusGone:
		text = err.Error()
	}
	http.Error(w, text, status)
}

// HTTPStatus is the status code (RFC 9110 §15) for an error of this package.
func HTTPStatus(err error) int {
	for _, s := range []struct {
		status  int
		classes []error
	}{
		{http.StatusUnauthorized, []error{ErrUnauthenticated, ErrExpired, ErrRevoked}},
		{http.StatusForbidden, []error{ErrForbidden, ErrApprovalNeeded, ErrSelfApproval, ErrMismatch, ErrRefused, ErrApprover}},
		{http.StatusNotFound, []error{ErrNotFound}},
		{http.StatusConflict, []error{ErrDecided, ErrUsed}},
		{http.StatusGone, []error{ErrLapsed}},
		{http.StatusBadRequest, []error{ErrInvalid}},
		{http.StatusInsufficientStorage, []error{ErrFull}},
		{http.StatusServiceUnavailable, []error{store.ErrUnavailable, store.ErrConflict}},
	} {
		if isOneOf(err, s.classes...) {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// connectionOrigin is the address at the other end of the connection.
func connectionOrigin(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr // a Unix socket's
	}
	return host
}
