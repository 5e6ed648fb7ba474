package speke

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/seed-6133abe0/rekey/keyring/cpix"
)

const (
	version = "2.0" // X-Speke-Version
	agent   = "rekey"

	defaultTimeout  = 30 * time.Second
	defaultAttempts = 3
	defaultBackoff  = 500 * time.Millisecond
	longestBackoff  = 10 * time.Second

	// maxAnswer is far above what any provider answers.
	maxAnswer = 4 << 20
)

// Client is a caller of one key provider. It is safe for concurrent use while
// its fields stay as they are.
type Client struct {
	Endpoint string       // https, or http to loopback; required
	HTTP     *http.Client // nil: http.DefaultClient; redirects are never followed
	Auth     Auth         // nil: none
	Clock    func() time.Time

	// Certificates are this side's: Request asks the provider to encrypt keys to
	// them, and takes no others. Empty: keys come in the clear, inside TLS.
	Certificates []*x509.Certificate
	// Decrypters open what is encrypted to Certificates.
	Decrypters []crypto.Decrypter
	// Provider are the certificates that Push encrypts to. Empty: in the clear.
	Provider []*x509.Certificate
	// SHA256 is cpix.EmitOptions.SHA256, for Push.
	SHA256 bool

	Timeout  time.Duration // of one attempt; 0: 30 s
	Attempts int           // 0: 3
	Backoff  time.Duration // before the second attempt, doubling up to 10 s, less a random part; 0: 500 ms
}

// Request asks for new keys. The document it returns is what was asked; its keys
// all have values.
func (c *Client) Request(ctx context.Context, a Ask) (*cpix.Document, error) {
	d, err := c.request(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("request keys from %s: %w", c.Host(), err)
	}
	return d, nil
}

func (c *Client) request(ctx context.Context, a Ask) (*cpix.Document, error) {
	asked, err := a.document()
	if err != nil {
		return nil, err
	}
	body, err := cpix.Emit(asked, cpix.EmitOptions{Recipients: c.Certificates})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAsk, err)
	}
	answer, err := c.exchange(ctx, body)
	defer clear(answer)
	if err != nil {
		return nil, err
	}
	got, err := c.parse(answer)
	if err != nil {
		return nil, err
	}
	if err := compare(asked, got, len(c.Certificates) > 0); err != nil {
		return nil, err
	}
	return got, nil
}

// Push hands over keys that exist. Its answer is what the provider signals for
// them, nil if it says nothing; a key in it is one that was pushed, unchanged.
func (c *Client) Push(ctx context.Context, d *cpix.Document) (*cpix.Document, error) {
	got, err := c.push(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("push keys to %s: %w", c.Host(), err)
	}
	return got, nil
}

func (c *Client) push(ctx context.Context, d *cpix.Document) (*cpix.Document, error) {
	if len(d.Keys) == 0 || len(d.Missing()) > 0 {
		return nil, fmt.Errorf("%w: no keys, or a key without value", ErrAsk)
	}
	body, err := cpix.Emit(*d, cpix.EmitOptions{Recipients: c.Provider, SHA256: c.SHA256})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAsk, err)
	}
	defer clear(body)
	answer, err := c.exchange(ctx, body)
	defer clear(answer)
	if err != nil || len(bytes.TrimSpace(answer)) == 0 {
		return nil, err
	}
	got, err := c.parse(answer)
	if err != nil {
		return nil, err
	}
	if err := comparePushed(d, got); err != nil {
		return nil, err
	}
	return got, nil
}

func (c *Client) parse(answer []byte) (*cpix.Document, error) {
	d, err := cpix.Parse("the answer", answer, cpix.ParseOptions{Decrypters: c.Decrypters})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContract, err)
	}
	return d, nil
}

// exchange posts the body, again while the provider is unavailable. The same
// KIDs get the same keys, however often they are asked for.
func (c *Client) exchange(ctx context.Context, body []byte) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	attempts, wait := c.Attempts, c.Backoff
	if attempts <= 0 {
		attempts = defaultAttempts
	}
	if wait <= 0 {
		wait = defaultBackoff
	}
	for n := 1; ; n++ {
		answer, err := c.post(ctx, body)
		if err == nil || !errors.Is(err, ErrUnavailable) || n >= attempts {
			return answer, err
		}
		// Half of it at random, so that those who failed together do not return
		// together.
		if err := sleep(ctx, wait/2+rand.N(wait/2+1)); err != nil {
			return nil, err
		}
		wait = min(2*wait, longestBackoff)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// post is one attempt. The answer is whole and of status 2xx.
func (c *Client) post(ctx context.Context, body []byte) ([]byte, error) {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	attempt, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(attempt, http.MethodPost, c.Endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: endpoint", ErrAsk)
	}
	r.Header.Set("Content-Type", "application/xml")
	r.Header.Set("Accept", "application/xml")
	r.Header.Set("X-Speke-Version", version)
	r.Header.Set("X-Speke-User-Agent", agent)
	r.Header.Set("User-Agent", agent)
	if c.Auth != nil {
		if err := c.Auth.Authorize(attempt, r, body, c.Clock()); err != nil {
			return nil, fmt.Errorf("%w: authorize: %w", ErrAsk, err)
		}
	}
	resp, err := c.noRedirect().Do(r)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	defer resp.Body.Close()
	if err := status(resp); err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil {
		err = attempt.Err() // a body may end in order because the call did
	}
	switch {
	case err != nil:
		clear(answer)
		return nil, unreachable(ctx, err)
	case len(answer) > maxAnswer:
		clear(answer)
		return nil, fmt.Errorf("%w: more than %d bytes", ErrContract, maxAnswer)
	case len(answer) == 0:
		return nil, nil
	}
	if err := headers(resp.Header); err != nil {
		clear(answer)
		return nil, err
	}
	return answer, nil
}

// unreachable classes a transport error; the caller's own cancellation stays it.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // its URL may hold credentials
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func status(r *http.Response) error {
	switch n := r.StatusCode; {
	case n == http.StatusRequestTimeout, n == http.StatusTooManyRequests, n >= 500:
		return fmt.Errorf("%w: HTTP status %d", ErrUnavailable, n)
	case n >= 400:
		return fmt.Errorf("%w: HTTP status %d", ErrRefused, n)
	case n >= 300:
		return fmt.Errorf("%w: HTTP status %d, and redirects are not followed", ErrContract, n)
	}
	return nil
}

// headers are those that SPEKE wants of an answer.
func headers(h http.Header) error {
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || media != "application/xml" && media != "text/xml" {
		return fmt.Errorf("%w: its Content-Type is not application/xml", ErrContract)
	}
	if h.Get("X-Speke-Version") != version {
		return fmt.Errorf("%w: its X-Speke-Version is not %s", ErrContract, version)
	}
	return nil
}

// noRedirect is the HTTP client, which hands out a redirect as an answer.
func (c *Client) noRedirect() *http.Client {
	h := http.DefaultClient
	if c.HTTP != nil {
		h = c.HTTP
	}
	own := *h
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

func (c *Client) check() error {
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%w: the endpoint is no URL with a host", ErrAsk)
	case u.User != nil:
		return fmt.Errorf("%w: credentials in the endpoint", ErrAsk)
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return fmt.Errorf("%w: the endpoint is not https", ErrAsk)
	case c.Auth != nil && c.Clock == nil:
		return fmt.Errorf("%w: no clock", ErrAsk)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Host is what errors call the provider: no path, no query, no credentials.
func (c *Client) Host() string {
	if u, err := url.Parse(c.Endpoint); err == nil && u.Host != "" {
		return u.Host
	}
	return "the SPEKE provider"
}
