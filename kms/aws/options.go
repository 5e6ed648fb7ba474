package aws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
)

// The bounds of PendingWindowInDays in ScheduleKeyDeletion. AWS takes the
// greatest where none is given; rekey the least.
const (
	minWindow = 7
	maxWindow = 30
)

// ErrOptions: the options cannot be used.
var ErrOptions = errors.New("aws-kms options are not usable")

// Options set up a Provider.
type Options struct {
	// Region is where Create makes KEKs. Zero: that of AWS's settings (AWS_REGION,
	// the profile).
	Region string
	// Endpoint is the service's address, https://host, or http:// to a loopback
	// address. Zero: AWS_ENDPOINT_URL_KMS, or AWS's own for the region.
	Endpoint string
	// PendingWindowInDays is the time from ScheduleDestruction to the end, 7 to 30
	// days. Zero: 7, the least that AWS takes.
	PendingWindowInDays int
	// CallTimeout bounds one call of the service. Zero: 20 seconds.
	CallTimeout time.Duration
	// Poll is the time between two looks at a KEK whose state changes. Zero: 1
	// second.
	Poll time.Duration
	// PollFor bounds the wait for a change to be seen. Zero: 10 minutes.
	PollFor time.Duration
	// Refusals is how many times in a row encrypting and decrypting must be
	// refused before a KEK counts as off. Zero: 3.
	Refusals int
	// Load goes to AWS's settings: credentials, HTTP client. Zero: AWS's default
	// chain.
	Load []func(*config.LoadOptions) error
	// Clock measures PollFor. Zero: the system's.
	Clock func() time.Time
	// Wait returns after d, or sooner with the context's error. Zero: a timer.
	Wait func(ctx context.Context, d time.Duration) error
}

// withDefaults fills in the zero values and refuses what is out of bounds.
func (o Options) withDefaults() (Options, error) {
	if o.Region != "" && !regionName.MatchString(o.Region) {
		return o, fmt.Errorf("%w: %.100q is not a region", ErrOptions, o.Region)
	}
	o.PendingWindowInDays = or(o.PendingWindowInDays, minWindow)
	if o.PendingWindowInDays < minWindow || o.PendingWindowInDays > maxWindow {
		return o, fmt.Errorf("%w: destruction after %d days is not within %d and %d", ErrOptions, o.PendingWindowInDays, minWindow, maxWindow)
	}
	o.CallTimeout = or(o.CallTimeout, 20*time.Second)
	o.Poll = or(o.Poll, time.Second)
	o.PollFor = or(o.PollFor, 10*time.Minute)
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

// checkEndpoint refuses addresses to which keys would go in the clear. It never
// quotes one: it may hold a password.
func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.User != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%w: the endpoint is not https://host", ErrOptions)
	case u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	default:
		return fmt.Errorf("%w: endpoint of host %.300q is not https, nor http to a loopback address", ErrOptions, u.Hostname())
	}
}

// isLoopback knows addresses alone, and "localhost", which RFC 6761 §6.3 keeps
// for them.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
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
