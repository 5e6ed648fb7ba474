package vault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// ErrOptions: the options cannot be used.
var ErrOptions = errors.New("vault options are not usable")

// Options set up a Provider.
type Options struct {
	// Address is the server's, https://host:port. http:// is refused unless the
	// host is a loopback address. It must be given.
	Address string
	// Namespace is sent with every call. Zero: none.
	Namespace string
	// Mount is the path of the transit engine, which must be there. Zero:
	// "transit".
	Mount string
	// TokenFile holds a token, mode 0600. Zero: log in with an AppRole.
	TokenFile string
	// RoleIDFile and SecretIDFile hold what an AppRole logs in with, mode 0600.
	// Zero: use TokenFile. One of the two ways must be given, and not both.
	RoleIDFile, SecretIDFile string
	// AppRoleMount is the path of the AppRole auth method. Zero: "approle".
	AppRoleMount string
	// CAFile holds the CA certificates, in PEM, that the server's certificate is
	// checked against. Zero: the system's.
	CAFile string
	// DestroyAfter is the time from ScheduleDestruction to the end. 24 hours to
	// 366 days. Zero: 30 days.
	DestroyAfter time.Duration
	// CallTimeout bounds one call of the service. Zero: 20 seconds.
	CallTimeout time.Duration
	// Poll is the time between two looks at a KEK that was switched. Zero: 1
	// second.
	Poll time.Duration
	// PollFor bounds the wait for a switch to be seen. Zero: 2 minutes.
	PollFor time.Duration
	// Refusals is how many times in a row encrypting and decrypting must be
	// refused before a KEK counts as off. Zero: 3.
	Refusals int
	// Transport goes around the HTTP transport. Zero: nothing does.
	Transport func(http.RoundTripper) http.RoundTripper
	// Clock measures PollFor and the life of tokens. Zero: the system's.
	Clock func() time.Time
	// Wait returns after d, or sooner with the context's error. Zero: a timer.
	Wait func(ctx context.Context, d time.Duration) error
}

// The least is above Vault's least auto_rotate_period, which is an hour.
const (
	minDestroyAfter     = 24 * time.Hour
	maxDestroyAfter     = 366 * 24 * time.Hour
	defaultDestroyAfter = 30 * 24 * time.Hour
)

// mountName is a mount path without slashes at its ends.
var mountName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$`)

// withDefaults fills in the zero values and refuses what is out of bounds.
func (o Options) withDefaults() (Options, error) {
	if err := checkAddress(o.Address); err != nil {
		return o, err
	}
	o.Mount = or(o.Mount, "transit")
	o.AppRoleMount = or(o.AppRoleMount, "approle")
	for _, path := range []string{o.Mount, o.AppRoleMount, or(o.Namespace, "none")} {
		if len(path) > 200 || !mountName.MatchString(path) || strings.HasSuffix(path, ".") {
			return o, fmt.Errorf("%w: %.300q is not a path (a-z, 0-9, . _ - and / within)", ErrOptions, path)
		}
	}
	if appRole := o.RoleIDFile != "" || o.SecretIDFile != ""; appRole == (o.TokenFile != "") {
		return o, fmt.Errorf("%w: give a token file, or role ID and secret ID files", ErrOptions)
	} else if appRole && (o.RoleIDFile == "" || o.SecretIDFile == "") {
		return o, fmt.Errorf("%w: an AppRole needs both a role ID file and a secret ID file", ErrOptions)
	}
	o.DestroyAfter = or(o.DestroyAfter, defaultDestroyAfter)
	if o.DestroyAfter < minDestroyAfter || o.DestroyAfter > maxDestroyAfter {
		return o, fmt.Errorf("%w: destruction after %s is not within %s and %s", ErrOptions, o.DestroyAfter, minDestroyAfter, maxDestroyAfter)
	}
	o.CallTimeout = or(o.CallTimeout, 20*time.Second)
	o.Poll = or(o.Poll, time.Second)
	o.PollFor = or(o.PollFor, 2*time.Minute)
	o.Refusals = or(o.Refusals, 3)
	if o.CallTimeout < 0 || o.Poll < 0 || o.PollFor < 0 || o.Refusals < 0 {
		return o, fmt.Errorf("%w: a time or a count is negative", ErrOptions)
	}
	if o.Transport == nil {
		o.Transport = func(r http.RoundTripper) http.RoundTripper { return r }
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Wait == nil {
		o.Wait = wait
	}
	return o, nil
}

// checkAddress refuses addresses over which tokens and keys would go in the
// clear. It never quotes one with a user in it: that may hold a password.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.User != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%w: the address is not https://host:port", ErrOptions)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	default:
		return fmt.Errorf("%w: address %.300q is not https, nor http to a loopback address", ErrOptions, address)
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
