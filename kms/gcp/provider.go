package gcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	apiv1 "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/api/option"

	"github.com/seed-6133abe0/rekey/kms"
)

// Protection is where the key material of new KEKs lives.
type Protection string

// The protection levels that Create makes KEKs of.
const (
	Software Protection = "SOFTWARE"
	HSM      Protection = "HSM"
)

// The bounds of CryptoKey.destroy_scheduled_duration, and what Google takes where
// none is given (https://cloud.google.com/kms/docs/destroy-restore). An
// organisation may demand more (constraints/cloudkms.minimumDestroyScheduledDuration).
const (
	minDestroyAfter     = 24 * time.Hour
	maxDestroyAfter     = 120 * 24 * time.Hour
	defaultDestroyAfter = 30 * 24 * time.Hour
)

// ErrOptions: the options cannot be used.
var ErrOptions = errors.New("gcp-kms options are not usable")

// Options set up a Provider.
type Options struct {
	// KeyRing is where Create makes KEKs: projects/P/locations/L/keyRings/R. It
	// must be given and the ring be there.
	KeyRing string
	// Protection is the level of the KEKs that Create makes. Zero: Software.
	Protection Protection
	// DestroyAfter is the time from ScheduleDestruction to the end, for KEKs that
	// Create makes; it stays with the KEK. 24 hours to 120 days. Zero: 30 days.
	DestroyAfter time.Duration
	// CallTimeout bounds one call of the service. Zero: 20 seconds.
	CallTimeout time.Duration
	// Poll is the time between two looks at a KEK whose state changes. Zero: 5
	// seconds.
	Poll time.Duration
	// PollFor bounds the wait for a change to be seen. Zero: 15 minutes.
	PollFor time.Duration
	// Refusals is how many times in a row encrypting and decrypting must be
	// refused before a KEK counts as off. Zero: 3.
	Refusals int
	// Endpoint is the loopback address, host:port, of a server or proxy on this
	// machine, which is reached without TLS and without credentials. Zero:
	// Google's.
	Endpoint string
	// Client goes to Google's client: credentials, endpoint, quota project. Zero:
	// Application Default Credentials.
	Client []option.ClientOption
	// Clock measures PollFor. Zero: the system's.
	Clock func() time.Time
	// Wait returns after d, or sooner with the context's error. Zero: a timer.
	Wait func(ctx context.Context, d time.Duration) error
}

// withDefaults fills in the zero values and refuses what is out of bounds.
func (o Options) withDefaults() (Options, error) {
	if !ringName.MatchString(o.KeyRing) {
		return o, fmt.Errorf("%w: key ring %.300q is not projects/…/locations/…/keyRings/…", ErrOptions, o.KeyRing)
	}
	o.Protection = or(o.Protection, Software)
	if o.Protection != Software && o.Protection != HSM {
		return o, fmt.Errorf("%w: protection %q is not %s or %s", ErrOptions, o.Protection, Software, HSM)
	}
	o.DestroyAfter = or(o.DestroyAfter, defaultDestroyAfter)
	if o.DestroyAfter < minDestroyAfter || o.DestroyAfter > maxDestroyAfter {
		return o, fmt.Errorf("%w: destruction after %s is not within %s and %s", ErrOptions, o.DestroyAfter, minDestroyAfter, maxDestroyAfter)
	}
	if err := checkEndpoint(o.Endpoint); err != nil {
		return o, err
	}
	o.CallTimeout = or(o.CallTimeout, 20*time.Second)
	o.Poll = or(o.Poll, 5*time.Second)
	o.PollFor = or(o.PollFor, 15*time.Minute)
	o.Refusals = or(o.Refusals, 3)
	if o.CallTimeout < 0 || o.Poll < 0 || o.PollFor < 0 || o.Refusals < 0 {
		return o, fmt.Errorf("%w: a time or a count is negative", ErrOptions)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Wait == nil {
		o.Wait = wait
	}
	return o, nil
}

func or[T comparable](v, zero T) T {
	var none T
	if v == none {
		return zero
	}
	return v
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Provider holds KEKs in Google Cloud KMS. It is safe for concurrent use.
type Provider struct {
	o      Options
	client *apiv1.KeyManagementClient
}

// New connects to the service. It makes no call; missing credentials are
// kms.ErrDenied, and options out of bounds ErrOptions.
func New(ctx context.Context, o Options) (*Provider, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open Cloud KMS: %w", err)
	}
	// Last, so that no other option brings the debug log back: it shows plaintexts.
	opts := slices.Concat(o.Client, o.unsecured(), []option.ClientOption{option.WithLogger(slog.New(slog.DiscardHandler))})
	client, err := apiv1.NewKeyManagementClient(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("open Cloud KMS: %w: %w", kms.ErrDenied, err)
	}
	// The client's own options try for up to a minute again.
	client.CallOptions = &apiv1.KeyManagementCallOptions{}
	return &Provider{o: o, client: client}, nil
}

// Close gives the connection back.
func (p *Provider) Close() error {
	if err := p.client.Close(); err != nil {
		return fmt.Errorf("close Cloud KMS: %w", err)
	}
	return nil
}

// String names the key ring.
func (p *Provider) String() string { return Scheme + ":" + p.o.KeyRing }

// GoString names the key ring.
func (p *Provider) GoString() string { return p.String() }

// Format names the key ring for every verb: the options inside may hold
// credentials.
func (p *Provider) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue makes slog print the key ring.
func (p *Provider) LogValue() slog.Value { return slog.StringValue(p.String()) }

func (p *Provider) protection() kmspb.ProtectionLevel {
	if p.o.Protection == HSM {
		return kmspb.ProtectionLevel_HSM
	}
	return kmspb.ProtectionLevel_SOFTWARE
}

// call makes one call of the service within its time. Errors are those of
// classify; what the service calls an invalid argument is of class invalid.
func call[Req, Resp any](ctx context.Context, p *Provider, rpc func(context.Context, Req) (Resp, error), req Req, invalid error) (resp Resp, err error) {
	if err := ctx.Err(); err != nil {
		return resp, err
	}
	limited, cancel := context.WithTimeout(ctx, p.o.CallTimeout)
	defer cancel()
	if resp, err = rpc(limited, req); err != nil {
		var none Resp
		return none, classify(ctx, err, invalid)
	}
	return resp, nil
}
