package exposure

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

// The classes of what is wrong with a log.
var (
	// ErrFormat: nothing in the file's first lines says what log it is, or the
	// format that was asked for does not exist.
	ErrFormat = errors.New("log format is not known")
	// ErrSyntax: a line is not what its format says.
	ErrSyntax = errors.New("log line is malformed")
	// ErrTooLong: a line is over the bound.
	ErrTooLong = errors.New("log line is too long")
	// ErrTooLarge: a file is over the bound.
	ErrTooLarge = errors.New("log file is too large")
	// ErrUnreadable: the file has lines, and none is of its format.
	ErrUnreadable = errors.New("no line of the log can be read")
	// ErrCorrupt: the file breaks off or is damaged, so that what follows cannot
	// be read.
	ErrCorrupt = errors.New("log file is damaged")
)

// Error says which log is wrong, and where. It never quotes the log, whose URLs
// may be signed.
type Error struct {
	File   string // Options.Name
	Line   int64  // from 1; the record's number in a CloudTrail file; 0: the file
	Reason string
	Class  error
}

func (e *Error) Error() string {
	at := ""
	if e.Line > 0 {
		at = fmt.Sprintf(" line %d", e.Line)
	}
	return fmt.Sprintf("read log %q%s: %v: %s", e.File, at, e.Class, e.Reason)
}

func (e *Error) Unwrap() error { return e.Class }

// MarshalJSON writes {"line", "class", "reason"}.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Line   int64  `json:"line"`
		Class  string `json:"class"`
		Reason string `json:"reason"`
	}{e.Line, e.Class.Error(), e.Reason})
}

// Format names what a log is written in; see the package's documentation.
type Format string

// The formats. The empty one is told from the log.
const (
	Combined       Format = "combined"
	CloudFront     Format = "cloudfront"
	CloudFrontJSON Format = "cloudfront-json"
	CloudTrail     Format = "cloudtrail"
	S3             Format = "s3"
	JSON           Format = "json"
	Audit          Format = "audit"
)

// Formats lists all there are.
func Formats() []Format {
	return []Format{Combined, CloudFront, CloudFrontJSON, CloudTrail, S3, JSON, Audit}
}

// Fetch is one request that gave a key away, or would have: Status says which.
type Fetch struct {
	Time time.Time // UTC
	// Client is the id under which the log knows who asked, and where it has
	// none the address.
	Client  string
	Address string // where the log has one; not always an IP address
	// KID is the key, if the log names it; the zero KID: URI names it.
	KID key.KID
	// URI is as in the log, query and all: it may carry a token. An object of a
	// bucket is s3://bucket/key. Empty: the log names the KID alone.
	URI    string
	Status int    // HTTP; CloudTrail and audit records: 200
	Agent  string // the User-Agent
}

// notModified is the status of a client that holds the key already.
const notModified = 304

func success(status int) bool { return status >= 200 && status < 300 }

// handsOut reports whether an answer to a method has a body that can be a key.
func handsOut(method string) bool {
	switch method {
	case "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT":
		return false
	}
	return true
}
