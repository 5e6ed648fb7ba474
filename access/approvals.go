package access

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/store"
)

const (
	approvalPrefix = "approvals/"
	requestObject  = "/request" + noteSuffix
	decisionObject = "/decision" + noteSuffix
	usedObject     = "/used"

	requestStamp = "20060102T150405Z" // ids sort as the times of requests
	dayChars     = len("20060102")
	nonceSize    = 16

	// MaxRequests bounds those of the days that are looked at, whatever became of
	// them.
	MaxRequests = 10_000
)

// ApprovalOptions set up Approvals.
type ApprovalOptions struct {
	// RequestLife is how long a request waits for an approver. Zero: 24 h; at most
	// MaxRequestLife.
	RequestLife time.Duration
	// ApprovalLife is how long an approval waits for its use. Zero: 1 h; at most
	// MaxApprovalLife.
	ApprovalLife time.Duration
}

// Approvals are what is asked for and released in one control store. They are safe
// for concurrent use, also by many processes.
//
// An identity that is handed to their methods is looked up again each time: roles
// and validity are what stands at that moment.
type Approvals struct {
	ids  *Identities
	life ApprovalOptions
}

// NewApprovals are those of the control store, clock and signing key of i.
func NewApprovals(i *Identities, o ApprovalOptions) *Approvals {
	if o.RequestLife <= 0 {
		o.RequestLife = 24 * time.Hour
	}
	if o.ApprovalLife <= 0 {
		o.ApprovalLife = time.Hour
	}
	o.RequestLife, o.ApprovalLife = min(o.RequestLife, MaxRequestLife), min(o.ApprovalLife, MaxApprovalLife)
	return &Approvals{ids: i, life: o}
}

// Request asks for the release of an action that by may do with a second person.
// ErrForbidden, ErrInvalid, ErrFull, ErrNoSigner, those of
// [Identities.Authenticate] where by is no longer good, or an error of the store or
// the log: then nobody can grant it.
func (a *Approvals) Request(ctx context.Context, by Identity, action Action, subject Subject, reason string) (string, error) {
	id, err := a.request(ctx, by, action, subject, reason)
	if err != nil {
		return "", fmt.Errorf("request approval: %w", err)
	}
	return id, nil
}

func (a *Approvals) request(ctx context.Context, by Identity, action Action, subject Subject, reason string) (string, error) {
	by, e, err := a.ids.enter(ctx, by, ApprovalRequest)
	if err != nil {
		return "", err
	}
	if _, err := a.ids.Authorize(ctx, by, action); err != nil {
		return "", err
	}
	now := a.ids.now()
	req := Request{
		ID:     now.Format(requestStamp) + "-" + newID(),
		Action: action, Subject: subject, Reason: reason, Requester: party(by),
		Time: now, Expires: now.Add(a.life.RequestLife),
	}
	e.Action, e.Request = audit.ApprovalRequest, req.ID
	body, _, err := seal(a.ids.o.Signer, kindRequest, &req)
	if err == nil {
		describe(&e, req)
		e.Reason += ": " + reason
		err = a.roomForRequest(ctx)
	}
	if err != nil {
		return "", a.ids.settle(ctx, e, err)
	}
	if err := a.ids.allow(ctx, e); err != nil {
		return "", err
	}
	if _, err := store.PutOnce(ctx, a.ids.o.Store, approvalObject(req.ID, requestObject), body, noteAttributes()); err != nil {
		return "", a.ids.settle(ctx, e, err)
	}
	return req.ID, nil
}

func (a *Approvals) roomForRequest(ctx context.Context) error {
	n := 0
	for _, err := range a.recent(ctx) {
		if err != nil {
			return err
		}
		if n++; n >= MaxRequests {
			return fmt.Errorf("%w requests: %d in the time that one lives", ErrFull, n)
		}
	}
	return nil
}

// Grant releases what another person asked for. It needs an [Approver].
// ErrForbidden, ErrSelfApproval, ErrNotFound, ErrLapsed, ErrDecided, ErrForged,
// ErrCorrupt, ErrNoSigner, those of [Identities.Authenticate] where the approver is
// no longer good, or an error of the store or the log. After an error of the store
// the decision may stand all the same, as [Approvals.Get] tells.
func (a *Approvals) Grant(ctx context.Context, approver Identity, id string) (Approval, error) {
	approval, err := a.decide(ctx, approver, id, Granted, "")
	if err != nil {
		return Approval{}, fmt.Errorf("grant approval: %w", err)
	}
	return approval, nil
}

// Refuse ends a request for good. It needs an [Approver], or whoever asked, who
// withdraws it. Errors are Grant's.
func (a *Approvals) Refuse(ctx context.Context, approver Identity, id, reason string) error {
	if _, err := a.decide(ctx, approver, id, Refused, reason); err != nil {
		return fmt.Errorf("refuse approval: %w", err)
	}
	return nil
}

func (a *Approvals) decide(ctx context.Context, by Identity, id string, v Verdict, reason string) (Approval, error) {
	by, e, err := a.ids.enterAny(ctx, by)
	if err != nil {
		return Approval{}, err
	}
	e.Action = audit.ApprovalGrant
	if v == Refused {
		e.Action = audit.ApprovalRefuse
	}
	req, text, readErr := a.readRequest(ctx, id)
	withdraws := readErr == nil && v == Refused && req.Requester.Person == by.Person
	if !withdraws {
		role, err := a.ids.Authorize(ctx, by, ApprovalGrant)
		if err != nil {
			return Approval{}, err
		}
		e.Role = role.String()
	}
	if readErr != nil {
		return Approval{}, a.ids.settle(ctx, e, readErr)
	}
	e.Request = req.ID
	describe(&e, req)
	if err := a.decidable(ctx, by, req, v); err != nil {
		return Approval{}, a.ids.settle(ctx, e, err)
	}
	now := a.ids.now()
	d := Approval{
		Request: req, RequestSHA256: digest(text), Verdict: v, Reason: reason, Approver: party(by),
		Time: now, Expires: now.Add(a.life.ApprovalLife), Nonce: newNonce(),
	}
	return a.writeDecision(ctx, e, d)
}

// decidable says why a request is not, or not by whom.
func (a *Approvals) decidable(ctx context.Context, by Identity, req Request, v Verdict) error {
	if v == Granted && req.Requester.Person == by.Person {
		return fmt.Errorf("%w: %s", ErrSelfApproval, by.Person)
	}
	decided, err := exists(ctx, a.ids.o.Store, approvalObject(req.ID, decisionObject))
	switch {
	case err != nil:
		return err
	case decided:
		return fmt.Errorf("%w: %s", ErrDecided, req.ID)
	case !a.ids.now().Before(req.Expires):
		return fmt.Errorf("%w: request %s", ErrLapsed, req.ID)
	}
	return nil
}

// writeDecision lets one decision stand. A grant and a refusal have one name, so
// that of two at once the first counts.
func (a *Approvals) writeDecision(ctx context.Context, e audit.Record, d Approval) (Approval, error) {
	body, _, err := seal(a.ids.o.Signer, kindDecision, &d)
	if err != nil {
		return Approval{}, a.ids.settle(ctx, e, err)
	}
	if d.Reason != "" {
		e.Reason += ": " + d.Reason
	}
	if err := a.ids.allow(ctx, e); err != nil {
		return Approval{}, err
	}
	_, err = store.PutOnce(ctx, a.ids.o.Store, approvalObject(d.Request.ID, decisionObject), body, noteAttributes())
	if errors.Is(err, store.ErrPrecondition) {
		err = fmt.Errorf("%w: %s", ErrDecided, d.Request.ID)
	}
	if err != nil {
		return Approval{}, a.ids.settle(ctx, e, err)
	}
	d.note = body
	return d, nil
}

// describe says on record what is asked for.
func describe(e *audit.Record, req Request) {
	s := req.Subject
	if !s.KID.IsZero() {
		e.KID = s.KID.String()
	}
	e.Rotation, e.Asset, e.Object = s.Rotation, s.Asset, s.Object
	if s.KEK != "" {
		e.Object = s.KEK
	}
	e.Reason = fmt.Sprintf("%s of %s, asked for by %s", req.Action, s, req.Requester.Person)
}

func newNonce() string {
	var b [nonceSize]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// requestTime reads a request's id.
func requestTime(id string) (time.Time, bool) {
	if len(id) != len(requestStamp)+1+idChars || id[len(requestStamp)] != '-' || !isID(id[len(requestStamp)+1:]) {
		return time.Time{}, false
	}
	t, err := time.Parse(requestStamp, id[:len(requestStamp)])
	return t, err == nil && t.Year() >= 1 && t.Format(requestStamp) == id[:len(requestStamp)]
}

// approvalObject is the name of one of a request's objects.
func approvalObject(id, object string) string {
	return approvalPrefix + id[:dayChars] + "/" + id + object
}
