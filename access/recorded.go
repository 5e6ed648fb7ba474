package access

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
)

const (
	maxReason  = 1 << 10 // bytes of a reason that somebody gives
	maxCause   = 2 << 10 // bytes of what went wrong, on record
	settleTime = 10 * time.Second
)

// Caller is who asks, once the doorkeeper knows them, and from where.
type Caller struct {
	Identity
	// Role is the one in which they act.
	Role Role
	// Origin is the network address; empty where there is none.
	Origin string
}

// Record fills in who did it.
func (c Caller) Record(r audit.Record) audit.Record {
	r.Actor, r.Client, r.Origin = c.Person, c.ID, c.Origin
	r.Role = c.Role.String()
	return r
}

type callerKey struct{}

// WithCaller gives the context to whoever acts for c.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom is who asked, as [Guard] knows them.
func CallerFrom(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// record is the beginning of a record about by, who acts in role.
func record(ctx context.Context, by Identity, role Role) audit.Record {
	outer, _ := CallerFrom(ctx) // for where they are
	return Caller{Identity: by, Role: role, Origin: outer.Origin}.Record(audit.Record{})
}

// Authorize says in which role an identity may do a, as the table has it: nil, or
// ErrForbidden, which is on record. It does not ask whether a second person has
// released it (see [NeedsApproval]), nor whether the token is still good.
func (i *Identities) Authorize(ctx context.Context, id Identity, a Action) (Role, error) {
	role, ok := id.Allows(a)
	if ok {
		return role, nil
	}
	e := record(ctx, id, id.Roles)
	e.Action, e.Object = audit.RoleRefuse, string(a)
	return 0, i.settle(ctx, e, fmt.Errorf("%w: %s to %s", ErrForbidden, quote(string(a)), id.Roles))
}

// enter is how every change begins: by as it stands now, who may do a, and the
// record of it. Who may not is on record.
func (i *Identities) enter(ctx context.Context, by Identity, a Action) (Identity, audit.Record, error) {
	by, _, err := i.enterAny(ctx, by)
	if err != nil {
		return Identity{}, audit.Record{}, err
	}
	role, err := i.Authorize(ctx, by, a)
	if err != nil {
		return Identity{}, audit.Record{}, err
	}
	return by, record(ctx, by, role), nil
}

// enterAny lets in whoever's token is still good.
func (i *Identities) enterAny(ctx context.Context, by Identity) (Identity, audit.Record, error) {
	now, err := i.current(ctx, by)
	if err != nil {
		if isOneOf(err, refusals...) {
			e := record(ctx, by, by.Roles)
			e.Action, e.Reason = audit.RoleRefuse, classOf(err)
			if e.Actor == "" {
				e.Actor = unknownActor
			}
			err = i.settle(ctx, e, err)
		}
		return Identity{}, audit.Record{}, err
	}
	return now, record(ctx, now, now.Roles), nil
}

// unknownActor is whom the record names where nobody is known.
const unknownActor = "unknown"

// classOf tells apart, on record only, what the three say alike outwardly.
func classOf(err error) string {
	switch {
	case isOneOf(err, ErrExpired):
		return "token is expired"
	case isOneOf(err, ErrRevoked):
		return "token is revoked"
	case isOneOf(err, ErrUnauthenticated):
		return "token is unknown"
	default:
		return ""
	}
}

// allow puts e on record as about to be done. If that fails nothing may be done.
func (i *Identities) allow(ctx context.Context, e audit.Record) error {
	e.Outcome = audit.Allowed
	return i.o.Log.Append(ctx, e)
}

// settle puts on record that e was refused, or went wrong, because of err, and
// returns err. It writes even when ctx has ended: what went wrong is on record
// because of that, too.
func (i *Identities) settle(ctx context.Context, e audit.Record, err error) error {
	e.Outcome = audit.Failed
	if isOneOf(err, refusals...) {
		e.Outcome = audit.Refused
	}
	cause := err.Error()
	if len(cause) > maxCause {
		cause = cause[:maxCause]
	}
	if e.Reason != "" {
		e.Reason += ": "
	}
	e.Reason += cause
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if unrecorded := i.o.Log.Append(ctx, e); unrecorded != nil {
		return fmt.Errorf("%w (and this is not on record: %w)", err, unrecorded)
	}
	return err
}
