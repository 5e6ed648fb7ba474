package storetest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
)

// Transport is an HTTP transport with faults in front of it, for the client of a
// real server. Its hooks are set before its first use; nil is no fault. n counts
// the requests from 1, in the order in which they are sent.
type Transport struct {
	http.RoundTripper

	// Before may answer a request, or fail it, without its being sent; it may also
	// change it.
	Before func(n int, r *http.Request) (*http.Response, error)
	// After may change the answer of one that was sent, or put an error in its
	// place: the answer was lost.
	After func(n int, r *http.Response) error

	mu   sync.Mutex
	sent int
}

// Requests is how many requests there were, answered by Before or not.
func (f *Transport) Requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

// RoundTrip implements http.RoundTripper.
func (f *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.sent++
	n := f.sent
	f.mu.Unlock()
	if f.Before != nil {
		changed := r.Clone(r.Context())
		answer, err := f.Before(n, changed)
		if answer != nil || err != nil {
			return answer, errors.Join(err, finish(r.Body))
		}
		r = changed
	}
	answer, err := f.RoundTripper.RoundTrip(r)
	if err != nil || f.After == nil {
		return answer, err
	}
	if err := f.After(n, answer); err != nil {
		return nil, errors.Join(err, finish(answer.Body))
	}
	return answer, nil
}

// finish reads a body to its end: what was sent was received whole.
func finish(body io.ReadCloser) error {
	if body == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, body)
	return errors.Join(err, body.Close())
}

// Answer is an S3 error as an answer to a request; without a code, a HEAD's.
func Answer(r *http.Request, status int, code string) *http.Response {
	body := ""
	if code != "" && r.Method != http.MethodHead {
		body = "<Error><Code>" + code + "</Code><Message>m</Message></Error>"
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}

// Reset is a connection reset by the other side.
func Reset() error { return syscall.ECONNRESET }

// CutAnswer ends the answer's body after n bytes with err: io.ErrUnexpectedEOF is
// what net/http says of a connection that closed, io.EOF a server that sent less.
func CutAnswer(r *http.Response, n int64, err error) {
	r.Body = &cutBody{ReadCloser: r.Body, left: n, err: err}
}

type cutBody struct {
	io.ReadCloser
	left int64
	err  error
}

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, c.err
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// FlipAnswer turns the lowest bit of one byte of the answer's body.
func FlipAnswer(r *http.Response, at int64) {
	r.Body = &damagedBody{ReadCloser: r.Body, left: -1, flip: at}
}

// FlipRequest turns the lowest bit of one byte of the request's body.
func FlipRequest(r *http.Request, at int) error {
	b, err := io.ReadAll(r.Body)
	if err := errors.Join(err, r.Body.Close()); err != nil {
		return err
	}
	b[at] ^= 1
	r.Body = io.NopCloser(bytes.NewReader(b))
	return nil
}

// StallAnswer holds the answer's body back after n bytes until the request's
// context ends, as a connection on which nothing comes any more.
func StallAnswer(r *http.Response, n int64) {
	r.Body = &stalledBody{ReadCloser: r.Body, left: n, done: r.Request.Context().Done()}
}

type stalledBody struct {
	io.ReadCloser
	left int64
	done <-chan struct{}
}

func (s *stalledBody) Read(p []byte) (int, error) {
	if s.left <= 0 {
		<-s.done
		return 0, syscall.ETIMEDOUT
	}
	n, err := s.ReadCloser.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	return n, err
}

// DripAnswer gives the answer's body out in single bytes.
func DripAnswer(r *http.Response) { r.Body = &drippingBody{r.Body} }

type drippingBody struct{ io.ReadCloser }

func (d *drippingBody) Read(p []byte) (int, error) { return d.ReadCloser.Read(p[:min(len(p), 1)]) }
