package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/dash"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/keyring/backup"
	"github.com/seed-6133abe0/rekey/keyring/cpix"
	"github.com/seed-6133abe0/rekey/keyring/packager"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// The exit codes: other people's scripts depend on them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNothing     = 3
	exitPartial     = 4
	exitApproval    = 5
	exitInterrupted = 130
)

const exitHelp = `Exit codes: 0 done; 1 failed; 2 bad usage or config; 3 nothing depends on that
key; 4 done, but some assets were refused or failed (listed); 5 needs approval;
130 interrupted.`

var (
	errUsage   = errors.New("bad usage")
	errPartial = errors.New("some assets were refused or failed")
	errFailed  = errors.New("no asset was rotated")
	errBad     = errors.New("verification found problems")
	// errUnproved: rekey file's old key; a rotation says it of an asset.
	errUnproved = errors.New("the media does not prove the old key")
	// errNoUse: no sample of the file is under any of the keys.
	errNoUse = errors.New("nothing depends on these keys")
	// errApproval: a second person has to agree first.
	errApproval = errors.New("needs the approval of a second person")
)

// class is what a class of errors is called under --json, and the exit code it
// leads to.
type class struct {
	err  error
	name string
	exit int
}

// classes is the one table of them; the first that fits counts.
func classes() []class {
	all := []class{
		{errUsage, "usage", exitUsage}, {kms.ErrMasterFile, "master-key", exitUsage},
		{errApproval, "approval", exitApproval},
		{errNoUse, "nothing", exitNothing},
		{errPartial, "partial", exitPartial}, {errBad, "not-verified", exitFailed},
		{keyring.ErrCorrupt, "corrupt", exitFailed}, {keyring.ErrNotFound, "no-key", exitFailed},
		{keyring.ErrForbidden, "forbidden", exitFailed}, {keyring.ErrExists, "exists", exitFailed},
		{keyring.ErrSyntax, "syntax", exitFailed}, {keyring.ErrWeak, "weak-key", exitFailed},
		{keyring.ErrTransition, "transition", exitFailed}, {keyring.ErrKEKInUse, "kek-in-use", exitFailed},
		{catalog.ErrNotScanned, "not-scanned", exitUsage}, {catalog.ErrInUse, "key-in-use", exitFailed}, {catalog.ErrOtherRoot, "other-root", exitUsage}, {catalog.ErrCorrupt, "corrupt", exitFailed},
		{cenc.ErrMalformed, "malformed", exitFailed}, {cenc.ErrUnsupported, "unsupported", exitFailed},
		{hls.ErrMalformed, "malformed", exitFailed}, {hls.ErrUnsupported, "unsupported", exitFailed}, {hls.ErrWrongKey, "wrong-key", exitFailed},
		{cenc.ErrWrongKey, "wrong-key", exitFailed}, {errUnproved, "unproved", exitFailed}, {cenc.ErrClear, "clear", exitFailed}, {cenc.ErrLimit, "limit", exitFailed},
		{cenc.ErrMissingKey, "missing-key", exitFailed}, {cenc.ErrVerify, "verify", exitFailed},
		{dash.ErrMalformed, "malformed", exitFailed}, {dash.ErrUnsupported, "unsupported", exitFailed},
		{kms.ErrMismatch, "kek-mismatch", exitFailed}, {kms.ErrDisabled, "kek-disabled", exitFailed}, {kms.ErrDenied, "kek-denied", exitFailed},
		{kms.ErrNotFound, "no-kek", exitFailed}, {kms.ErrExists, "exists", exitFailed},
		{kms.ErrThrottled, "kms-throttled", exitFailed}, {kms.ErrUnavailable, "kms-unavailable", exitFailed},
		{audit.ErrSigner, "signing-key", exitUsage}, {audit.ErrCheckpoint, "checkpoint", exitFailed}, {audit.ErrCorrupt, "corrupt", exitFailed},
		{audit.ErrProof, "proof", exitFailed}, {audit.ErrNotSequenced, "not-sequenced", exitFailed}, {audit.ErrLeased, "leased", exitFailed}, {audit.ErrShip, "not-shipped", exitFailed},
		{access.ErrInvalid, "usage", exitUsage}, {access.ErrForbidden, "role", exitFailed}, {access.ErrNotFound, "not-found", exitFailed},
		{errRemoteRefused, "server-refused", exitFailed}, {errRemoteAway, "server-unavailable", exitFailed},
		{backup.ErrTooFew, "too-few-shares", exitFailed}, {backup.ErrShare, "share", exitFailed}, {backup.ErrHolder, "share", exitFailed}, {backup.ErrForeign, "share", exitFailed},
		{backup.ErrRepeated, "share", exitFailed}, {backup.ErrFactor, "second-factor", exitFailed}, {backup.ErrUsed, "second-factor", exitFailed}, {backup.ErrAttempts, "second-factor", exitFailed},
		{backup.ErrDamaged, "damaged", exitFailed}, {backup.ErrSyntax, "malformed", exitFailed}, {backup.ErrVersion, "unsupported", exitFailed}, {backup.ErrOptions, "usage", exitUsage},
		{cpix.ErrNoRecipient, "no-recipient", exitFailed}, {cpix.ErrNotFIPS, "not-fips", exitFailed}, {cpix.ErrMAC, "damaged", exitFailed},
		{cpix.ErrMalformed, "malformed", exitFailed}, {cpix.ErrUnsupported, "unsupported", exitFailed}, {cpix.ErrLimit, "limit", exitFailed}, {cpix.ErrDecrypt, "no-recipient", exitFailed},
		{packager.ErrInput, "usage", exitUsage},
		{store.ErrUnavailable, "store-unavailable", exitFailed},
		{fs.ErrExist, "exists", exitFailed}, {store.ErrDenied, "denied", exitFailed}, {store.ErrNotFound, "not-found", exitFailed}, {store.ErrPrecondition, "precondition", exitFailed},
	}
	return append(rotationClasses(), all...)
}

func classOf(err error) class {
	for _, c := range classes() {
		if errors.Is(err, c.err) {
			return c
		}
	}
	return class{err, "failed", exitFailed}
}

// exitCode is the exit code of an error.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	return classOf(err).exit
}

// className is the class that --json gives an error.
func className(err error) string { return classOf(err).name }

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
	var be *backup.Error
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
	case errors.As(err, &be):
		l.Object = be.Part
		if be.Offset >= 0 {
			l.Offset = &be.Offset
		}
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
