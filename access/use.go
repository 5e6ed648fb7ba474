package access

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/store"
)

// Use takes an approval, once, for the action on the subject that it was granted
// for, by the person who asked. The caller does that, and nothing else, only where
// Use returns no error, and with the reason of the approval's request.
//
// ErrApprovalNeeded (not granted yet), ErrRefused, ErrLapsed, ErrUsed, ErrMismatch,
// ErrApprover, ErrForbidden, ErrNotFound, ErrForged, ErrCorrupt, those of
// [Identities.Authenticate] where the requester is no longer good, or an error of
// the store or the log. After an error of the store the approval may be used up
// all the same: ask again.
func (a *Approvals) Use(ctx context.Context, requester Identity, id string, action Action, subject Subject) (Approval, error) {
	approval, err := a.use(ctx, requester, id, action, subject)
	if err != nil {
		return Approval{}, fmt.Errorf("use approval: %w", err)
	}
	return approval, nil
}

// Check looks whether Use would take an approval now, and takes nothing. Errors are
// Use's, on record as Use has them.
func (a *Approvals) Check(ctx context.Context, requester Identity, id string, action Action, subject Subject) error {
	if _, _, err := a.check(ctx, requester, id, action, subject); err != nil {
		return fmt.Errorf("check approval: %w", err)
	}
	return nil
}

// check is an approval that could be used, and the record of its use.
func (a *Approvals) check(ctx context.Context, by Identity, id string, action Action, subject Subject) (Approval, audit.Record, error) {
	by, e, err := a.ids.enter(ctx, by, action)
	if err != nil {
		return Approval{}, e, err
	}
	e.Action = audit.ApprovalUse
	if _, ok := requestTime(id); ok {
		e.Request = id
	}
	describe(&e, Request{Action: action, Subject: subject, Requester: party(by)})
	if err := subject.check(action); err != nil {
		e.KID, e.Rotation, e.Asset, e.Object, e.Reason = "", "", "", "", "" // of unknown length
		return Approval{}, e, a.ids.settle(ctx, e, err)
	}
	approval, err := a.usable(ctx, by, id, action, subject)
	if err != nil {
		return Approval{}, e, a.ids.settle(ctx, e, err)
	}
	return approval, e, nil
}

func (a *Approvals) use(ctx context.Context, by Identity, id string, action Action, subject Subject) (Approval, error) {
	approval, e, err := a.check(ctx, by, id, action, subject)
	if err != nil {
		return Approval{}, err
	}
	e.Reason += ", approved by " + approval.Approver.Person + ": " + approval.Request.Reason
	if err := a.ids.allow(ctx, e); err != nil {
		return Approval{}, err
	}
	// Other bytes each time: what stands there already is never taken for ours.
	_, err = store.PutOnce(ctx, a.ids.o.Store, approvalObject(id, usedObject), []byte(newNonce()+"\n"), store.Attributes{ContentType: "text/plain"})
	if errors.Is(err, store.ErrPrecondition) {
		err = fmt.Errorf("%w: %s", ErrUsed, id)
	}
	if err != nil {
		return Approval{}, a.ids.settle(ctx, e, err)
	}
	return approval, nil
}

// usable looks at everything that an approval stands on.
func (a *Approvals) usable(ctx context.Context, by Identity, id string, action Action, subject Subject) (Approval, error) {
	req, text, err := a.readRequest(ctx, id)
	if err != nil {
		return Approval{}, err
	}
	switch {
	case req.Requester.Person != by.Person:
		return Approval{}, fmt.Errorf("%w: %s was asked for by another person", ErrMismatch, id)
	case req.Action != action:
		return Approval{}, fmt.Errorf("%w: %s is for %s, not %s", ErrMismatch, id, req.Action, action)
	case req.Subject != subject:
		return Approval{}, fmt.Errorf("%w: %s is for %s, not %s", ErrMismatch, id, req.Subject, subject)
	}
	approval, err := a.readDecision(ctx, req, text)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Approval{}, fmt.Errorf("%w: %s waits for it", ErrApprovalNeeded, id)
	case err != nil:
		return Approval{}, err
	case approval.Verdict != Granted:
		return Approval{}, fmt.Errorf("%w: %s", ErrRefused, id)
	}
	switch used, err := exists(ctx, a.ids.o.Store, approvalObject(id, usedObject)); {
	case err != nil:
		return Approval{}, err
	case used:
		return Approval{}, fmt.Errorf("%w: %s", ErrUsed, id)
	case !a.ids.now().Before(approval.Expires):
		return Approval{}, fmt.Errorf("%w: approval of %s", ErrLapsed, id)
	}
	return approval, a.approverStands(ctx, approval)
}

// approverStands asks whether whoever approved still could.
func (a *Approvals) approverStands(ctx context.Context, approval Approval) error {
	approver, err := a.ids.current(ctx, Identity{ID: approval.Approver.Identity})
	if why := classOf(err); why != "" {
		// Not the class: it would read as if the requester's token were meant.
		return fmt.Errorf("%w: %s: %s", ErrApprover, approval.Approver.Person, why)
	}
	if err != nil {
		return err
	}
	if _, ok := approver.Allows(ApprovalGrant); !ok || approver.Person != approval.Approver.Person {
		return fmt.Errorf("%w: %s holds no such role", ErrApprover, approval.Approver.Person)
	}
	if approver.Person == approval.Request.Requester.Person {
		return fmt.Errorf("%w: %s", ErrSelfApproval, approver.Person)
	}
	return nil
}

// readRequest is a request and the text that is signed.
func (a *Approvals) readRequest(ctx context.Context, id string) (Request, string, error) {
	if _, ok := requestTime(id); !ok {
		return Request{}, "", fmt.Errorf("%w: %s is no request's id", ErrInvalid, quote(id))
	}
	var req Request
	name := approvalObject(id, requestObject)
	_, text, err := a.readNote(ctx, name, kindRequest, &req)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Request{}, "", fmt.Errorf("%w: request %s", ErrNotFound, id)
	case err != nil:
		return Request{}, "", err
	case req.ID != id:
		return Request{}, "", forged(name, "is another request's")
	}
	return req, text, nil
}

// readDecision is what was decided on req, whose signed text is given. Where there
// is none, the error is the store's.
func (a *Approvals) readDecision(ctx context.Context, req Request, text string) (Approval, error) {
	var d Approval
	name := approvalObject(req.ID, decisionObject)
	object, _, err := a.readNote(ctx, name, kindDecision, &d)
	switch {
	case err != nil:
		return Approval{}, err
	case d.Request != req || d.RequestSHA256 != digest(text):
		return Approval{}, forged(name, "is of another request, or of this one before it was changed")
	}
	d.note = object
	return d, nil
}

func (a *Approvals) readNote(ctx context.Context, name, kind string, v value) (object []byte, text string, err error) {
	object, _, err = store.ReadAll(ctx, a.ids.o.Store, name, "", maxObject, nil)
	if errors.Is(err, store.ErrTooLarge) {
		return nil, "", corrupt(name, "more than %d bytes", maxObject)
	}
	if err != nil {
		return nil, "", err
	}
	text, err = unseal(name, a.ids.trusted, kind, object, v)
	return object, text, err
}
