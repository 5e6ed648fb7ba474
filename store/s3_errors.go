package store

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// s3Error gives the SDK's error its class: by S3's code where there is one (a
// HEAD has no body, hence none), else by the status, else as a broken connection.
func s3Error(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		if class := codeClass(api.ErrorCode()); class != nil {
			return withClass(ctx, class, err)
		}
	}
	// Below 400 it is an answer that broke off, or could not be read.
	if e, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && e.HTTPStatusCode() >= 400 {
		return withClass(ctx, statusClass(e.HTTPStatusCode()), err)
	}
	return withClass(ctx, netClass(err), err)
}

func codeClass(code string) error {
	switch code {
	case "NoSuchKey", "NoSuchVersion", "NoSuchUpload":
		return ErrNotFound
	case "NoSuchBucket":
		// Of the store, not of the object: a reader that goes on when an object is
		// missing must not go on here.
		return ErrDenied
	case "PreconditionFailed":
		return ErrPrecondition
	case "ConditionalRequestConflict", "OperationAborted":
		return ErrConflict
	case "InvalidRange":
		return ErrInvalidRange
	case "InvalidObjectState":
		return ErrArchived
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired": // 400
		return ErrDenied
	case "RequestTimeout", "BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody": // 400: damaged on the way
		return ErrUnavailable
	case "SlowDown", "ServiceUnavailable", "InternalError":
		return ErrUnavailable
	case "EntityTooLarge":
		return ErrTooLarge
	case "KeyTooLongError", "XMinioInvalidObjectName", "XMinioParentIsObject", "XMinioObjectExistsAsDirectory",
		"ObjectParentIsFile", "ExistingObjectIsDirectory":
		return ErrInvalidKey
	}
	return nil
}

func statusClass(status int) error {
	switch status {
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusPreconditionFailed:
		return ErrPrecondition
	case http.StatusConflict:
		return ErrConflict
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrDenied
	case http.StatusRequestedRangeNotSatisfiable:
		return ErrInvalidRange
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return ErrUnavailable
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return nil // trying again does not help
	}
	if status >= 500 {
		return ErrUnavailable
	}
	return nil
}

// netClass tells a connection that failed from everything else.
func netClass(err error) error {
	for _, broken := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPIPE} {
		if errors.Is(err, broken) {
			return ErrUnavailable
		}
	}
	// An answer that ends early, with no word of it from the connection.
	if e, ok := errors.AsType[*xml.SyntaxError](err); ok && e.Msg == "unexpected EOF" {
		return ErrUnavailable
	}
	_, sent := errors.AsType[*smithyhttp.RequestSendError](err)
	_, network := errors.AsType[net.Error](err)
	if sent || network {
		return ErrUnavailable
	}
	return nil
}
