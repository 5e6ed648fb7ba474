package watch

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrWebhook is the class of a webhook that may not be used.
var ErrWebhook = errors.New("webhook is not usable")

// Webhook says where events are posted.
type Webhook struct {
	// URL gets the POSTs: https, or http on this machine's loopback. It may hold a
	// secret: errors name its host alone.
	URL string
	// SecretFile holds the secret that bodies are signed with, at least 32 bytes
	// after blanks are cut off both ends; mode 0600.
	SecretFile string
	// Window is how long an event that happens again is gathered: the first is
	// posted at once, the others as one when the window ends. Zero: 5m.
	Window time.Duration
	// Waiting is how many events may wait; more are dropped. Zero: 64.
	Waiting int
	// Tries bounds the attempts to post one. Zero: 20, which takes about a quarter
	// of an hour.
	Tries int
	// Timeout is for one attempt. Zero: 10s.
	Timeout time.Duration
	// TLS is how the receiver is known, by other roots for one. Nil: as the system
	// does.
	TLS *tls.Config
}

const (
	firstPause   = time.Second // after the first failed try; each next is twice as long
	longestPause = time.Minute
	lastPosts    = 5 * time.Second // what an ended watcher still takes for posting

	minSecret = 32 // bytes: SP 800-107 §5.3.4 for 256 bits
	maxSecret = 4 << 10
)

// hook gathers and posts events. It is safe for concurrent use.
type hook struct {
	o      Webhook
	host   string
	secret []byte
	client *http.Client
	m      *metrics
	clock  func() time.Time
	log    *slog.Logger
	pause  func(ctx context.Context, d time.Duration) // a test's does not wait

	queue    chan Event
	mu       sync.Mutex
	gathered map[string]*gathering // by the event's name
}

// gathering is an event that was posted, and what happened since.
type gathering struct {
	until time.Time
	last  Event
	count int // since it was posted
}

func newHook(o Webhook, m *metrics, w Options) (*hook, error) {
	u, err := checkURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("set up webhook: %w", err)
	}
	secret, err := readSecret(o.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("set up webhook: %w", err)
	}
	o.Window = cmp.Or(o.Window, 5*time.Minute)
	o.Waiting = cmp.Or(o.Waiting, 64)
	o.Tries = cmp.Or(o.Tries, 20)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	return &hook{
		o: o, host: u.Host, secret: secret, m: m, clock: w.Clock, log: w.Log, pause: pause,
		client: newClient(o, u.Scheme == "https"),
		queue:  make(chan Event, o.Waiting), gathered: map[string]*gathering{},
	}, nil
}

func newClient(o Webhook, secure bool) *http.Client {
	dial := &net.Dialer{Timeout: o.Timeout}
	transport := &http.Transport{DialContext: dial.DialContext, TLSHandshakeTimeout: o.Timeout, MaxIdleConns: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	if secure {
		transport.Proxy = http.ProxyFromEnvironment
		if o.TLS != nil {
			transport.TLSClientConfig = o.TLS.Clone()
		}
	} else {
		// What localhost means is for the resolver to say, so look again.
		dial.Control = func(_, address string, _ syscall.RawConn) error {
			if a, err := netip.ParseAddrPort(address); err != nil || !a.Addr().IsLoopback() {
				return fmt.Errorf("%w: http goes to this machine only", ErrWebhook)
			}
			return nil
		}
	}
	return &http.Client{
		Timeout: o.Timeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checkURL says what is wrong without the URL, which may hold a secret.
func checkURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("%w: no valid URL", ErrWebhook)
	case u.User != nil:
		return nil, fmt.Errorf("%w: URL holds a user", ErrWebhook)
	case u.Scheme == "https":
		return u, nil
	case u.Scheme != "http":
		return nil, fmt.Errorf("%w: URL is neither https nor http", ErrWebhook)
	}
	a, err := netip.ParseAddr(u.Hostname())
	if u.Hostname() != "localhost" && (err != nil || !a.IsLoopback()) {
		return nil, fmt.Errorf("%w: http goes to this machine only, others need https", ErrWebhook)
	}
	return u, nil
}

func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWebhook, err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || info.Size() > maxSecret {
		return nil, fmt.Errorf("%w: secret %s: mode %s and %d bytes, want a small file of mode 0600", ErrWebhook, path, info.Mode(), info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWebhook, err)
	}
	secret := []byte(strings.TrimSpace(string(b)))
	clear(b)
	if len(secret) < minSecret {
		return nil, fmt.Errorf("%w: secret %s has %d bytes, want %d", ErrWebhook, path, len(secret), minSecret)
	}
	return secret, nil
}

// offer takes an event; it never waits.
func (h *hook) offer(e Event, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.gathered[e.Event]; g != nil && now.Before(g.until) {
		if worse(g.last.Severity, e.Severity) && g.count > 0 {
			e.Severity = g.last.Severity
		}
		g.last = e
		g.count += e.Count
		return
	}
	h.end(e.Event, now)
	h.gathered[e.Event] = &gathering{until: now.Add(h.o.Window)}
	h.put(e)
}

func worse(a, b string) bool { return a == Critical && b != Critical }

// flush posts what was gathered in windows that have ended.
func (h *hook) flush(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range Events() {
		if g := h.gathered[name]; g != nil && !now.Before(g.until) {
			h.end(name, now)
		}
	}
}

// end closes a window. One in which something came begins another: what goes on
// is told once a window.
func (h *hook) end(name string, now time.Time) {
	g := h.gathered[name]
	delete(h.gathered, name)
	if g == nil || g.count == 0 {
		return
	}
	e := g.last
	e.Count = g.count
	h.gathered[name] = &gathering{until: now.Add(h.o.Window)}
	h.put(e)
}

func (h *hook) put(e Event) {
	select {
	case h.queue <- e:
	default:
		h.drop(e, "too many wait")
	}
	h.m.hookWaiting.Set(float64(len(h.queue)))
}

func (h *hook) drop(e Event, why string) {
	h.m.hookDropped.Inc()
	h.log.Error("event is not posted", "event", e.Event, "id", e.ID, "count", e.Count, "webhook", h.host, "reason", why)
}

// run posts events until ctx ends, and then once more what waits.
func (h *hook) run(ctx context.Context) {
	// A POST under way is let finish: cut off, it would have to be made again.
	posting, cancel := withGrace(ctx)
	defer cancel()
	for {
		select {
		case e := <-h.queue:
			h.m.hookWaiting.Set(float64(len(h.queue)))
			if !h.deliver(ctx, posting, e, h.o.Tries) {
				h.last(posting, e)
				return
			}
		case <-ctx.Done():
			h.last(posting)
			return
		}
	}
}

// last tries all that waits once more.
func (h *hook) last(posting context.Context, waiting ...Event) {
	for _, e := range append(waiting, h.drain()...) {
		h.deliver(posting, posting, e, 1)
	}
}

// withGrace is a context that ends some seconds after ctx.
func withGrace(ctx context.Context) (context.Context, func()) {
	posting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lastPosts, cancel) })
	return posting, func() { stop(); cancel() }
}

// drain empties the queue and what is gathered.
func (h *hook) drain() (waiting []Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.queue) > 0 {
		waiting = append(waiting, <-h.queue)
	}
	for _, name := range Events() {
		if g := h.gathered[name]; g != nil && g.count > 0 {
			e := g.last
			e.Count, g.count = g.count, 0
			waiting = append(waiting, e)
		}
	}
	h.m.hookWaiting.Set(0)
	return waiting
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
