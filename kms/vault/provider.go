package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/seed-6133abe0/rekey/kms"
)

// Provider holds KEKs in a transit engine. It is safe for concurrent use.
type Provider struct {
	o       Options
	client  *api.Client // without a token
	session *session
	// bound: the server was seen to honour associated_data.
	bound atomic.Bool
}

var _ kms.Provider = (*Provider)(nil)

// New sets up a Provider. It makes no call, but reads the files once; what cannot
// be used is ErrOptions.
func New(ctx context.Context, o Options) (*Provider, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	for _, file := range []string{o.TokenFile, o.RoleIDFile, o.SecretIDFile} {
		if file == "" {
			continue
		}
		if _, err := readSecret(file); err != nil {
			return nil, fmt.Errorf("open vault: %w: %w", ErrOptions, err)
		}
	}
	client, err := newClient(o)
	if err != nil {
		return nil, fmt.Errorf("open vault: %w: %w", ErrOptions, err)
	}
	p := &Provider{o: o, client: client}
	p.session = &session{p: p, lock: make(chan struct{}, 1)}
	return p, nil
}

// newClient is the client without what it takes from the environment: token,
// namespace, headers, response wrapping, proxies of its own and skipped checks.
func newClient(o Options) (*api.Client, error) {
	roots, err := readRoots(o.CAFile)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: o.CallTimeout,
	}
	client, err := api.NewClient(&api.Config{
		Address: o.Address,
		HttpClient: &http.Client{
			Transport:     bounded{o.Transport(transport)},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		MaxRetries: 0,
		Timeout:    0, // call has its own; with this one the client cancels before the body is read
		// Enterprise: a node that has not seen what this client wrote answers 412.
		ReadYourWrites: true,
		// A standby may send the call on to the active node. The client does that
		// once and never from https to http; over plain HTTP it could leave the
		// loopback address.
		DisableRedirects: o.Address[:5] != "https",
	})
	if err != nil {
		return nil, err
	}
	client.ClearToken()
	client.SetHeaders(http.Header{api.RequestHeaderName: {"true"}})
	if o.Namespace != "" {
		client.SetNamespace(o.Namespace)
	}
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	return client, nil
}

// readRoots reads CA certificates; nil stands for the system's.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CA certificates: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("read CA certificates: %s holds none", file)
	}
	return roots, nil
}

// maxBody bounds an answer, in bytes: the client reads all of it.
const maxBody = 1 << 20

// bounded cuts the bodies of answers off.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxBody), resp.Body}
	}
	return resp, err
}

// String names the mount.
func (p *Provider) String() string { return Scheme + ":" + p.o.Mount }

// GoString names the mount.
func (p *Provider) GoString() string { return p.String() }

// Format names the mount for every verb: inside is a token.
func (p *Provider) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue makes slog print the mount.
func (p *Provider) LogValue() slog.Value { return slog.StringValue(p.String()) }
