package cenc

import (
	"errors"

	"github.com/seed-6133abe0/rekey/pssh"
)

// psshError puts an error of package pssh into its place in the object.
func (in *Init) psshError(r *reader, x box, err error) error {
	class, at := ErrMalformed, x.start
	if errors.Is(err, pssh.ErrUnsupported) {
		class = ErrUnsupported
	}
	var e *pssh.Error
	if errors.As(err, &e) {
		at += int(e.Offset)
		return r.fail(class, at, "%s: %s", e.Place, e.Reason)
	}
	return r.fail(class, at, "%v", err)
}
