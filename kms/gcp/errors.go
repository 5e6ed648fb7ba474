package gcp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-6133abe0/rekey/kms"
)

// precondition is the service's FAILED_PRECONDITION. It has no class yet: how
// the KEK stands decides (useError, changeError).
type precondition struct {
	text string
	// subject is the CryptoKeyVersion that stands in the way, "" if the service
	// does not say.
	subject string
}

func (e *precondition) Error() string { return e.text }

func isPrecondition(err error) bool {
	var pre *precondition
	return errors.As(err, &pre)
}

// settled gives a precondition a class; other errors stay as they are.
func settled(err, class error) error {
	var pre *precondition
	if errors.As(err, &pre) {
		return fmt.Errorf("%w: %s", class, pre.text)
	}
	return err
}

// classify gives an error of the client its class, by the meaning of gRPC's codes
// in google/rpc/code.proto. The context's own errors stay what they are.
func classify(ctx context.Context, err error, invalid error) error {
	s := status.Convert(err)
	if own := ownError(ctx, s.Code()); own != nil {
		return own
	}
	text := shown(s)
	switch s.Code() {
	case codes.FailedPrecondition:
		return &precondition{text: text, subject: subject(s)}
	case codes.InvalidArgument:
		// The one thing that tells a damaged request from a wrong one is the name of
		// the checksum's field in the message (data-integrity-guidelines).
		if strings.Contains(s.Message(), "_crc32c") {
			return fmt.Errorf("%w: damaged in transit: %s", kms.ErrUnavailable, text)
		}
		return fmt.Errorf("%w: %s", invalid, text)
	default:
		return fmt.Errorf("%w: %s", class(s.Code()), text)
	}
}

func class(c codes.Code) error {
	switch c {
	case codes.NotFound:
		return kms.ErrNotFound
	case codes.AlreadyExists:
		return kms.ErrExists
	case codes.ResourceExhausted:
		return kms.ErrThrottled
	case codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented, codes.OutOfRange:
		return kms.ErrDenied
	default: // Unavailable, Internal, DeadlineExceeded, Aborted, Canceled by the service, Unknown, DataLoss
		return kms.ErrUnavailable
	}
}

// ownError is the caller's context's error, if that is what ended the call. The
// service is told the deadline and may be the first to see it pass.
func ownError(ctx context.Context, c codes.Code) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if end, ok := ctx.Deadline(); ok && c == codes.DeadlineExceeded && time.Until(end) < time.Second {
		return context.DeadlineExceeded
	}
	return nil
}

// subject is what a google.rpc.PreconditionFailure is about, where one is
// attached.
func subject(s *status.Status) string {
	for _, d := range s.Details() {
		if f, ok := d.(*errdetails.PreconditionFailure); ok && len(f.GetViolations()) > 0 {
			return f.GetViolations()[0].GetSubject()
		}
	}
	return ""
}

// shown is the code and the service's words, bounded and on one line.
func shown(s *status.Status) string {
	const most = 400
	message := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s.Message())
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + "…"
	}
	return s.Code().String() + ": " + message
}

// useError decides what a use that a precondition stopped was: the KEK's state
// says. Other errors stay as they are.
func (p *Provider) useError(ctx context.Context, v version, err error) error {
	var pre *precondition
	if !errors.As(err, &pre) {
		return err
	}
	// The ciphertext belongs to another version, and that one is off.
	if strings.HasPrefix(pre.subject, v.cryptoKey()+"/cryptoKeyVersions/") && pre.subject != v.name() {
		return settled(err, kms.ErrMismatch)
	}
	got, err := p.get(ctx, v)
	if errors.Is(err, kms.ErrNotFound) || kms.Passes(err) || ctx.Err() != nil {
		return err
	}
	switch got.GetState() {
	case kmspb.CryptoKeyVersion_PENDING_GENERATION, kmspb.CryptoKeyVersion_PENDING_IMPORT:
		return fmt.Errorf("%w: not ready yet: %s", kms.ErrUnavailable, pre.text)
	case kmspb.CryptoKeyVersion_ENABLED:
		if pre.subject == v.name() { // it was enabled since
			return fmt.Errorf("%w: state is changing: %s", kms.ErrUnavailable, pre.text)
		}
		return settled(pre, kms.ErrDenied)
	default: // off; or the caller may not look, and the refusal is all there is
		return settled(pre, kms.ErrDisabled)
	}
}

// changeError decides what a change that a precondition stopped was: the KEK is
// gone, or a policy stands in the way.
func (p *Provider) changeError(ctx context.Context, v version, err error) error {
	var pre *precondition
	if !errors.As(err, &pre) {
		return err
	}
	got, err := p.get(ctx, v)
	switch {
	case err != nil:
		return err
	case state(got) == kms.KEKDestroyed:
		return fmt.Errorf("%w: %s is destroyed: %s", kms.ErrDisabled, v.kek(), pre.text)
	default:
		return fmt.Errorf("%w: it is %s: %s", kms.ErrDenied, got.GetState(), pre.text)
	}
}
