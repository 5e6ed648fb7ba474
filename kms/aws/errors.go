package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/seed-6133abe0/rekey/kms"
)

// The codes after which the key's state decides what they mean.
const (
	accessDenied = "AccessDeniedException"
	invalidState = "KMSInvalidStateException"
)

// classes of the codes of AWS KMS
// (https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html and its
// neighbours). What else the service refuses is kms.ErrDenied: permissions,
// signatures, tokens, keys of another kind.
var classes = map[string]error{
	"DisabledException":                   kms.ErrDisabled,
	invalidState:                          kms.ErrDisabled,
	"NotFoundException":                   kms.ErrNotFound,
	"InvalidArnException":                 kms.ErrNotFound,
	"AlreadyExistsException":              kms.ErrExists,
	"IncorrectKeyException":               kms.ErrMismatch,
	"InvalidCiphertextException":          kms.ErrMismatch,
	"LimitExceededException":              kms.ErrThrottled,
	"KMSInternalException":                kms.ErrUnavailable,
	"DependencyTimeoutException":          kms.ErrUnavailable,
	"KeyUnavailableException":             kms.ErrUnavailable,
	"ConflictException":                   kms.ErrUnavailable,
	"CustomKeyStoreInvalidStateException": kms.ErrUnavailable,
}

// fault is an error of the service, or of the way there, with its class.
type fault struct {
	class error
	code  string // of the service, "" where it did not answer
	text  string
}

func (f *fault) Error() string { return f.class.Error() + ": " + f.text }
func (f *fault) Unwrap() error { return f.class }

// as is the fault with another class.
func (f *fault) as(class error) error { return &fault{class: class, code: f.code, text: f.text} }

// isState reports a refusal for the key's state, whoever asks.
func isState(err error) bool {
	var f *fault
	return errors.As(err, &f) && errors.Is(f, kms.ErrDisabled)
}

// classify gives an error of the client its class. The context's own errors stay
// what they are.
func classify(ctx context.Context, err error) error {
	if own := ownError(ctx, err); own != nil {
		return own
	}
	code, status := answer(err)
	var source *credentialsError
	if errors.As(err, &source) {
		return &fault{class: source.class(code, status), text: "credentials: " + oneLine(source.Error())}
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		class := kms.ErrUnavailable
		if status >= 400 && status < 500 {
			class = classOf("", status)
		}
		return &fault{class: class, text: oneLine(err.Error())}
	}
	return &fault{class: classOf(code, status), code: code, text: shown(api, err)}
}

// answer is the code and the HTTP status that came back, zero if none did.
func answer(err error) (code string, status int) {
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	var resp *smithyhttp.ResponseError
	if errors.As(err, &resp) && resp.Response != nil && resp.Response.Response != nil {
		status = resp.HTTPStatusCode()
	}
	return code, status
}

func classOf(code string, status int) error {
	if class, ok := classes[code]; ok {
		return class
	}
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	_, passes := retry.DefaultRetryableErrorCodes[code]
	switch {
	case throttled || status == http.StatusTooManyRequests:
		return kms.ErrThrottled
	case passes || status >= http.StatusInternalServerError || status == http.StatusRequestTimeout:
		return kms.ErrUnavailable
	default:
		return kms.ErrDenied
	}
}

// ownError is the caller's context's error, if that is what ended the call. A
// dialer is told the deadline and may be the first to see it pass.
func ownError(ctx context.Context, err error) error {
	if own := ctx.Err(); own != nil {
		return own
	}
	var late interface{ Timeout() bool }
	if end, ok := ctx.Deadline(); ok && errors.As(err, &late) && late.Timeout() && !time.Now().Before(end) {
		return context.DeadlineExceeded
	}
	return nil
}

// shown is the code, the service's words and the request's id. A validation's
// words may quote what was sent.
func shown(api smithy.APIError, err error) string {
	text := api.ErrorCode()
	switch api.ErrorCode() {
	case "ValidationException", "SerializationException":
	default:
		if m := oneLine(api.ErrorMessage()); m != "" {
			text += ": " + m
		}
	}
	var id interface{ ServiceRequestID() string }
	if errors.As(err, &id) && id.ServiceRequestID() != "" {
		text += " (request " + oneLine(id.ServiceRequestID()) + ")"
	}
	return text
}

// oneLine bounds a text and puts it on one line.
func oneLine(text string) string {
	const most = 400
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// useError decides what a refused use was. AWS looks at permissions before it
// looks at the key, and may deny what is not there or switched off; an invalid
// state may pass. Other errors stay as they are.
func (p *Provider) useError(ctx context.Context, k keyARN, err error) error {
	var f *fault
	if !errors.As(err, &f) || f.code != accessDenied && f.code != invalidState {
		return err
	}
	return p.settle(ctx, k, f)
}

// changeError decides what a change that the key's state stopped was. Whoever is
// denied a change is denied, however the key stands.
func (p *Provider) changeError(ctx context.Context, k keyARN, err error) error {
	var f *fault
	if !errors.As(err, &f) || f.code != invalidState {
		return err
	}
	return p.settle(ctx, k, f)
}

func (p *Provider) settle(ctx context.Context, k keyARN, f *fault) error {
	got, err := p.describe(ctx, k.region, k.arn)
	switch {
	case err != nil && (errors.Is(err, kms.ErrNotFound) || kms.Passes(err) || ctx.Err() != nil):
		return fmt.Errorf("%w, looked for after %s", err, f.text)
	case err != nil: // the caller may not look, and the refusal is all there is
		return f
	}
	switch got.KeyState {
	case types.KeyStateDisabled, types.KeyStatePendingDeletion, types.KeyStatePendingReplicaDeletion, types.KeyStatePendingImport:
		return f.as(kms.ErrDisabled)
	default: // Enabled: it was switched since; Creating, Updating, Unavailable: not for long
		if f.code == invalidState {
			return f.as(kms.ErrUnavailable)
		}
		return f
	}
}

// credentialsSource marks the errors of credentials: they come from another
// service than KMS, or from none.
type credentialsSource struct{ sdk.CredentialsProvider }

// Retrieve returns credentials, or an error that can be told from those of KMS.
func (s credentialsSource) Retrieve(ctx context.Context) (sdk.Credentials, error) {
	c, err := s.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return c, &credentialsError{err}
	}
	return c, nil
}

type credentialsError struct{ error }

func (e *credentialsError) Unwrap() error { return e.error }

// class: credentials that are missing, wrong or expired are kms.ErrDenied. A
// service that gives them and cannot be reached passes; but the instance metadata
// service, which the default chain asks last, is not there outside EC2.
func (e *credentialsError) class(code string, status int) error {
	if code != "" || status != 0 {
		if class := classOf(code, status); kms.Passes(class) {
			return class
		}
		return kms.ErrDenied
	}
	var op *smithy.OperationError
	var send *smithyhttp.RequestSendError
	late := errors.Is(e.error, context.DeadlineExceeded)
	if (errors.As(e.error, &send) || late) && !(errors.As(e.error, &op) && op.ServiceID == "ec2imds") {
		return kms.ErrUnavailable
	}
	return kms.ErrDenied
}
