package exposure

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

// event is what matters of a CloudTrail event ("CloudTrail record contents").
type event struct {
	Time     time.Time `json:"eventTime"`
	Source   string    `json:"eventSource"`
	Name     string    `json:"eventName"`
	Address  string    `json:"sourceIPAddress"`
	Agent    string    `json:"userAgent"`
	Error    string    `json:"errorCode"`
	Identity struct {
		ARN string `json:"arn"`
	} `json:"userIdentity"`
	Parameters json.RawMessage `json:"requestParameters"`
}

// parameters are those of the events that hand out keys.
type parameters struct {
	Bucket  string `json:"bucketName"`
	Key     string `json:"key"`
	Copied  string `json:"x-amz-copy-source"`
	Context struct {
		KID string `json:"kid"`
	} `json:"encryptionContext"`
}

// parseCloudTrail reads one event. An event without an error code succeeded, and
// has status 200; the others have none.
func parseCloudTrail(line string) (Fetch, kind, error) {
	if strings.TrimSpace(line) == "" {
		return Fetch{}, nothing, nil
	}
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		return Fetch{}, other, errors.New("it is no JSON object with eventTime, eventSource and eventName")
	}
	if e.Time.IsZero() || e.Source == "" || e.Name == "" {
		return Fetch{}, other, errors.New("eventTime, eventSource or eventName is missing")
	}
	f := Fetch{Time: e.Time.UTC(), Client: e.Identity.ARN, Address: e.Address, Agent: e.Agent}
	if f.Client == "" {
		f.Client = e.Address // an anonymous request
	}
	if e.Error == "" {
		f.Status = http200
	}
	k, err := e.object(&f)
	if err != nil || k != fetch {
		return f, k, err
	}
	if f.Client == "" {
		return Fetch{}, other, errors.New("it has neither userIdentity.arn nor sourceIPAddress")
	}
	return f, fetch, nil
}

// http200 is the status of what succeeded where a log has none.
const http200 = 200

// object finds the key that an event hands out.
func (e *event) object(f *Fetch) (kind, error) {
	call := e.Source + " " + e.Name
	switch call {
	case "s3.amazonaws.com GetObject", "s3.amazonaws.com CopyObject", "kms.amazonaws.com Decrypt":
	default:
		return other, nil
	}
	var p parameters
	if len(e.Parameters) > 0 {
		if err := json.Unmarshal(e.Parameters, &p); err != nil {
			return other, errors.New("requestParameters has members of the wrong type")
		}
	}
	switch call {
	case "kms.amazonaws.com Decrypt":
		kid, err := key.ParseKID(p.Context.KID)
		if err != nil {
			return other, nil // something else is kept under that KEK
		}
		f.KID = kid
		return fetch, nil
	case "s3.amazonaws.com CopyObject":
		if p.Copied == "" {
			return other, nil
		}
		f.URI = "s3://" + strings.TrimPrefix(p.Copied, "/")
		return fetch, nil
	}
	if p.Bucket == "" || p.Key == "" {
		return other, nil // refused before it was clear what was asked for
	}
	f.URI = "s3://" + p.Bucket + "/" + escape(p.Key)
	return fetch, nil
}

// documents reads CloudTrail files: objects with an array Records, one after the
// other. Line numbers are those of records.
func (l *Log) documents(in *bufio.Reader, yield func(Fetch) bool) error {
	g := &guard{in: in}
	d := json.NewDecoder(g)
	var number int64
	for {
		g.allow()
		more, err := l.document(d, g, &number, yield)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, ErrTooLong):
			return &Error{l.o.Name, number + 1, fmt.Sprintf("over %d bytes", maxLine), ErrTooLong}
		case damagedJSON(err):
			return &Error{l.o.Name, number + 1, "it is no JSON as CloudTrail writes it", ErrCorrupt}
		case err != nil:
			return l.failed(err)
		case !more:
			return nil
		}
	}
}

// document reads one. io.EOF: there is none.
func (l *Log) document(d *json.Decoder, g *guard, number *int64, yield func(Fetch) bool) (more bool, err error) {
	if err := delim(d, '{', io.EOF); err != nil {
		return false, err
	}
	var raw json.RawMessage
	for g.allow(); d.More(); g.allow() {
		name, err := d.Token()
		if err != nil {
			return false, noEOF(err)
		}
		if name != "Records" {
			g.allow()
			if err := d.Decode(&raw); err != nil {
				return false, noEOF(err)
			}
			continue
		}
		if err := delim(d, '[', errShape); err != nil {
			return false, err
		}
		for g.allow(); d.More(); g.allow() {
			if err := d.Decode(&raw); err != nil {
				return false, noEOF(err)
			}
			*number++
			if !l.take(parserFunc(parseCloudTrail), *number, string(raw), yield) {
				return false, nil
			}
		}
		g.allow()
		if err := delim(d, ']', errShape); err != nil {
			return false, err
		}
	}
	return true, delim(d, '}', errShape)
}

// errShape is the class of JSON that is whole, and not what it should be.
var errShape = errors.New("not the JSON that was expected")

// delim reads one delimiter; at the end of the input it returns atEnd.
func delim(d *json.Decoder, want json.Delim, atEnd error) error {
	t, err := d.Token()
	switch {
	case errors.Is(err, io.EOF):
		return atEnd
	case err != nil:
		return err
	case t != want:
		return errShape
	}
	return nil
}

// noEOF: inside a document the end of the input is damage.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return errShape
	}
	return err
}

func damagedJSON(err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax) || errors.Is(err, errShape) || errors.Is(err, io.ErrUnexpectedEOF)
}

// guard bounds what a JSON decoder takes in for one value: it keeps all of that.
type guard struct {
	in   io.Reader
	left int
}

// allow lets one more value through.
func (g *guard) allow() { g.left = maxLine }

func (g *guard) Read(p []byte) (int, error) {
	if g.left <= 0 {
		return 0, ErrTooLong
	}
	n, err := g.in.Read(p[:min(len(p), g.left)])
	g.left -= n
	return n, err
}
