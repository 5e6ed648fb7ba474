package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/dash"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/worker"
)

// The exit codes: other people's scripts depend on them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNothing     = 3
	exitPartial     = 4
	exitInterrupted = 130
)

const exitHelp = `Exit codes: 0 done; 1 failed; 2 bad usage or config; 3 nothing depends on that
key; 4 done, but some assets were refused or failed (listed); 130 interrupted.`

var (
	errUsage   = errors.New("bad usage")
	errPartial = errors.New("some assets were refused or failed")
	errFailed  = errors.New("no asset was rotated")
	errBad     = errors.New("verification found problems")
	// errUnproved: rekey file's old key; a rotation says it of an asset.
	errUnproved = errors.New("the media does not prove the old key")
)

// exitCode is the one map from errors to exit codes.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errUsage), errors.Is(err, rotation.ErrNoHandover), errors.Is(err, catalog.ErrNotScanned),
		errors.Is(err, kms.ErrMasterFile):
		return exitUsage
	case errors.Is(err, rotation.ErrNothing):
		return exitNothing
	case errors.Is(err, errPartial):
		return exitPartial
	default:
		return exitFailed
	}
}

// className is the class that --json gives an error.
func className(err error) string {
	for _, c := range []struct {
		err  error
		name string
	}{
		{errUsage, "usage"}, {rotation.ErrNoHandover, "no-handover"}, {catalog.ErrNotScanned, "not-scanned"},
		{rotation.ErrUnknown, "unknown"}, {rotation.ErrNothing, "nothing"}, {errPartial, "partial"}, {errBad, "not-verified"},
		{rotation.ErrLeased, "leased"}, {rotation.ErrPlanning, "planning"}, {rotation.ErrStale, "stale"},
		{journal.ErrNoRotation, "no-rotation"}, {journal.ErrCorrupt, "corrupt"}, {catalog.ErrCorrupt, "corrupt"},
		{keyring.ErrCorrupt, "corrupt"}, {keyring.ErrNotFound, "no-key"}, {keyring.ErrForbidden, "forbidden"},
		{keyring.ErrExists, "exists"}, {keyring.ErrSyntax, "syntax"}, {keyring.ErrWeak, "weak-key"},
		{keyring.ErrTransition, "transition"},
		{cenc.ErrMalformed, "malformed"}, {cenc.ErrUnsupported, "unsupported"},
		{hls.ErrMalformed, "malformed"}, {hls.ErrUnsupported, "unsupported"}, {hls.ErrWrongKey, "wrong-key"},
		{cenc.ErrWrongKey, "wrong-key"}, {worker.ErrWrongKey, "wrong-key"}, {errUnproved, "unproved"}, {cenc.ErrClear, "clear"}, {cenc.ErrLimit, "limit"},
		{cenc.ErrMissingKey, "missing-key"}, {cenc.ErrVerify, "verify"},
		{dash.ErrMalformed, "malformed"}, {dash.ErrUnsupported, "unsupported"},
		{kms.ErrMasterFile, "master-key"}, {kms.ErrMismatch, "kek-mismatch"},
		{queue.ErrUnavailable, "queue-unavailable"}, {store.ErrUnavailable, "store-unavailable"},
		{fs.ErrExist, "exists"}, {store.ErrDenied, "denied"}, {store.ErrNotFound, "not-found"}, {store.ErrPrecondition, "precondition"},
	} {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	return "failed"
}

// errorLine is the --json shape of an error.
type errorLine struct {
	Error  string `json:"error"`
	Class  string `json:"class"`
	Object string `json:"object,omitempty"`
	Offset *int64 `json:"offset,omitempty"`
}

func errorLineOf(err error) errorLine {
	l := errorLine{Error: err.Error(), Class: className(err)}
	var ce *cenc.Error
	var he *hls.Error
	var de *dash.Error
	var ke *keyring.Error
	var se *store.Error
	var ae *audit.Error
	switch {
	case errors.As(err, &ce):
		l.Object, l.Offset = ce.Object, &ce.Offset
	case errors.As(err, &he):
		l.Object, l.Offset = he.Object, &he.Offset
	case errors.As(err, &de):
		l.Object = de.Object
	case errors.As(err, &ke):
		l.Object = ke.Object
	case errors.As(err, &ae):
		l.Object = ae.Object
	case errors.As(err, &se):
		l.Object = se.Key
	}
	return l
}

// report says on stderr why the command failed.
func (a *app) report(err error) {
	if a.flags.json {
		_ = json.NewEncoder(a.stderr).Encode(errorLineOf(err))
		return
	}
	_, _ = fmt.Fprintln(a.stderr, "rekey:", err)
}

func usagef(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errUsage}, args...)...)
}
