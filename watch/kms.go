package watch

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/kms"
)

// kmsClass is a class of package kms and its label.
type kmsClass struct {
	label string
	err   error
}

func kmsTable() []kmsClass {
	return []kmsClass{
		{"disabled", kms.ErrDisabled}, {"denied", kms.ErrDenied}, {"not-found", kms.ErrNotFound},
		{"throttled", kms.ErrThrottled}, {"unavailable", kms.ErrUnavailable}, {"mismatch", kms.ErrMismatch},
		{"exists", kms.ErrExists},
	}
}

func kmsClasses() []string {
	var out []string
	for _, c := range kmsTable() {
		out = append(out, c.label)
	}
	return append(out, other)
}

func classOf(err error) string {
	for _, c := range kmsTable() {
		if errors.Is(err, c.err) {
			return c.label
		}
	}
	return other
}

// KMSFailed counts an error of a key service; it is made for kms.Patience.Failed.
// What passes with time is an event when there is much of it, all else at once.
func (w *Watcher) KMSFailed(scheme string, err error) {
	if err == nil {
		return
	}
	scheme, class, now := known(schemes(), scheme), classOf(err), w.now()
	w.m.kms.WithLabelValues(scheme, class).Inc()
	e := Event{
		ID: eventID(KMSErrors, scheme+" "+class+" "+now.Format(time.RFC3339Nano)), Event: KMSErrors, Severity: Critical, Time: now, Count: 1,
		Summary: fmt.Sprintf("The key service %s answers: %s.", scheme, class),
		Details: Details{Scheme: scheme, Class: class},
	}
	if kms.Passes(err) {
		if !w.passing.add(now) {
			return
		}
		e.Severity, e.Count = Warning, w.o.BurstCount
	}
	w.emit(e)
}
