package access

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

// Standing is how far a request has come.
type Standing string

// The standings.
const (
	StandingOpen    Standing = "open"    // waits for an approver
	StandingGranted Standing = "granted" // waits for its use
	StandingRefused Standing = "refused"
	StandingUsed    Standing = "used"
	StandingLapsed  Standing = "lapsed" // out of time, not granted or not used
)

// Status is a request and what became of it.
type Status struct {
	Request  Request   `json:"request"`
	Standing Standing  `json:"standing"`
	Decision *Approval `json:"decision,omitempty"` // nil: none
}

// Get is one request: ErrInvalid, ErrNotFound, ErrForged, ErrCorrupt, or an error
// of the store.
func (a *Approvals) Get(ctx context.Context, id string) (Status, error) {
	s, err := a.get(ctx, id)
	if err != nil {
		return Status{}, fmt.Errorf("get request: %w", err)
	}
	return s, nil
}

func (a *Approvals) get(ctx context.Context, id string) (Status, error) {
	req, text, err := a.readRequest(ctx, id)
	if err != nil {
		return Status{}, err
	}
	s := Status{Request: req, Standing: StandingOpen}
	if !a.ids.now().Before(req.Expires) {
		s.Standing = StandingLapsed
	}
	d, err := a.readDecision(ctx, req, text)
	if errors.Is(err, store.ErrNotFound) {
		return s, nil
	}
	if err != nil {
		return Status{}, err
	}
	used, err := exists(ctx, a.ids.o.Store, approvalObject(id, usedObject))
	if err != nil {
		return Status{}, err
	}
	s.Decision = &d
	switch {
	case d.Verdict == Refused:
		s.Standing = StandingRefused
	case used:
		s.Standing = StandingUsed
	case !a.ids.now().Before(d.Expires):
		s.Standing = StandingLapsed
	default:
		s.Standing = StandingGranted
	}
	return s, nil
}

// Recent yields the requests of the days in which one that still counts can have
// been made, oldest first; older ones are on the audit log. One that cannot be
// believed is yielded as an error (ErrForged, ErrCorrupt) and the walk goes on;
// where the store fails, that error is the last.
func (a *Approvals) Recent(ctx context.Context) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		for id, err := range a.recent(ctx) {
			var s Status
			if err == nil {
				s, err = a.get(ctx, id)
			}
			if err != nil {
				err = fmt.Errorf("list requests: %w", err)
			}
			if !yield(s, err) || err != nil && !isOneOf(err, ErrForged, ErrCorrupt) {
				return
			}
		}
	}
}

// recent yields ids. The days' folders bound what is listed.
func (a *Approvals) recent(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		now := a.ids.now()
		last := dayOf(now.Add(24 * time.Hour)) // another server's clock may be ahead
		for t := now.Add(-MaxRequestLife - MaxApprovalLife); dayOf(t) <= last; t = t.Add(24 * time.Hour) {
			for info, err := range a.ids.o.Store.List(ctx, approvalPrefix+dayOf(t)+"/") {
				if err != nil {
					yield("", err)
					return
				}
				id, ok := strings.CutSuffix(info.Key[len(approvalPrefix)+dayChars+1:], requestObject)
				if _, good := requestTime(id); !ok || !good || dayOf(t) != id[:dayChars] {
					continue
				}
				if !yield(id, nil) {
					return
				}
			}
		}
	}
}

func dayOf(t time.Time) string { return t.UTC().Format("20060102") }
