package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/seed-6133abe0/rekey/kms"
)

// reply is what of an answer is read.
type reply struct {
	Data     json.RawMessage `json:"data"`
	Warnings []string        `json:"warnings"`
	Auth     *grant          `json:"auth"`
	// now is the server's clock; zero if it did not say.
	now time.Time
}

// read decodes the answer's data.
func (r reply) read(into any) error {
	if len(r.Data) == 0 {
		return fmt.Errorf("%w: an answer without data", kms.ErrUnavailable)
	}
	if json.Unmarshal(r.Data, into) != nil { // its error could quote the data
		return fmt.Errorf("%w: an answer that is not of the documented form", kms.ErrUnavailable)
	}
	return nil
}

// call makes one call under the token. A token that turns out to be no good is
// replaced once, and the call made again. Errors have their class, or are the
// context's own.
func (p *Provider) call(ctx context.Context, method, path string, body any) (reply, error) {
	token, err := p.session.token(ctx)
	if err != nil {
		return reply{}, err
	}
	r, err := p.send(ctx, token, method, path, body)
	if !isForbidden(err) {
		return r, err
	}
	token, other := p.session.replace(ctx, token)
	switch {
	case other != nil:
		return reply{}, other
	case token == "": // it was good: a policy says no
		return reply{}, err
	default:
		return p.send(ctx, token, method, path, body)
	}
}

// send makes one request under a token, within its time.
func (p *Provider) send(ctx context.Context, token, method, path string, body any) (reply, error) {
	if err := ctx.Err(); err != nil {
		return reply{}, err
	}
	limited, cancel := context.WithTimeout(ctx, p.o.CallTimeout)
	defer cancel()
	logical := p.client.WithRequestCallbacks(func(r *api.Request) {
		r.ClientToken = token
		r.Obj = body // where the client takes the body from when it is redirected
	}).Logical()
	var resp *api.Response
	var err error
	switch method {
	case http.MethodGet:
		resp, err = logical.ReadRawWithContext(limited, path)
	case http.MethodDelete:
		resp, err = logical.DeleteRawWithContext(limited, path)
	default: // the client says PUT, which the API takes for POST
		var b []byte
		if b, err = json.Marshal(body); err == nil {
			resp, err = logical.WriteRawWithContext(limited, path, b)
		}
	}
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		return reply{}, classify(ctx, err)
	}
	return readReply(ctx, resp)
}

// readReply reads an answer; one without a body, 204, is empty.
func readReply(ctx context.Context, resp *api.Response) (reply, error) {
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return reply{}, fmt.Errorf("%w: HTTP %d", kms.ErrUnavailable, resp.StatusCode)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, classify(ctx, err)
	}
	defer clear(b)
	var r reply
	if len(b) > 0 && json.Unmarshal(b, &r) != nil {
		return reply{}, fmt.Errorf("%w: an answer that is not JSON of the documented form", kms.ErrUnavailable)
	}
	if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		r.now = t
	}
	return r, nil
}

// isForbidden reports what the server answered with 403.
func isForbidden(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.status == http.StatusForbidden
}
