package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api/auth/approle"

	"github.com/seed-6133abe0/rekey/kms"
)

// grant is the auth part of an answer.
type grant struct {
	ClientToken   string `json:"client_token"`
	LeaseDuration int64  `json:"lease_duration"` // seconds; 0: no end
	Renewable     bool   `json:"renewable"`
}

// session holds the token in use. Tokens are renewed and replaced by the calls
// that need one, one at a time.
type session struct {
	p    *Provider
	lock chan struct{} // holds one
	held ticket
}

// ticket is a token and what is known of its life.
type ticket struct {
	token     string
	renewable bool
	// renew is when to see to its life, ends when it is over. Zero: never.
	renew, ends time.Time
}

// minLife keeps a token near its end from being renewed again and again.
const minLife = 5 * time.Second

func newTicket(g grant, now time.Time) ticket {
	t := ticket{token: g.ClientToken, renewable: g.Renewable}
	if g.LeaseDuration > 0 {
		life := time.Duration(min(g.LeaseDuration, 1<<32)) * time.Second
		t.ends = now.Add(life)
		t.renew = now.Add(max(life*2/3, minLife))
	}
	return t
}

func passed(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

func (s *session) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) leave() { <-s.lock }

// token returns the token to use, renewed or new if it is time.
func (s *session) token(ctx context.Context) (string, error) {
	if err := s.enter(ctx); err != nil {
		return "", err
	}
	defer s.leave()
	now := s.p.o.Clock()
	if s.held.token == "" || passed(s.held.ends, now) {
		err := s.obtain(ctx)
		return s.held.token, err
	}
	if passed(s.held.renew, now) {
		if err := s.extend(ctx); err != nil {
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			// It is good for some time yet. Not at the next call again.
			s.held.renew = now.Add(max(s.held.ends.Sub(now)/3, minLife))
		}
	}
	return s.held.token, nil
}

// replace is for a token that a call was refused under. It returns a new one, or
// "" if the old one is good and the refusal a policy's.
func (s *session) replace(ctx context.Context, refused string) (string, error) {
	if err := s.enter(ctx); err != nil {
		return "", err
	}
	defer s.leave()
	if s.held.token != refused && s.held.token != "" { // another call was faster
		return s.held.token, nil
	}
	_, err := s.p.send(ctx, refused, http.MethodGet, "auth/token/lookup-self", nil)
	switch {
	case err == nil:
		return "", nil
	case !isForbidden(err):
		return "", err
	}
	s.held = ticket{}
	if err := s.obtain(ctx); err != nil {
		return "", err
	}
	if s.held.token == refused { // the file still holds it
		return "", nil
	}
	return s.held.token, nil
}

// extend renews the token, or gets another.
func (s *session) extend(ctx context.Context) error {
	if s.held.renewable {
		r, err := s.p.send(ctx, s.held.token, http.MethodPost, "auth/token/renew-self", struct{}{})
		if err == nil && r.Auth != nil {
			g := *r.Auth
			g.ClientToken = s.held.token // OpenBao may leave it out
			s.held = newTicket(g, s.p.o.Clock())
			return nil
		}
		if kms.Passes(err) || ctx.Err() != nil {
			return err
		}
	}
	return s.obtain(ctx)
}

// obtain logs in, or reads the token file. What fails leaves the old token.
func (s *session) obtain(ctx context.Context) error {
	get := s.login
	if s.p.o.TokenFile != "" {
		get = s.read
	}
	g, err := get(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("get a token: %w", err)
	}
	s.held = newTicket(g, s.p.o.Clock())
	return nil
}

func (s *session) login(ctx context.Context) (grant, error) {
	roleID, err := readSecret(s.p.o.RoleIDFile)
	if err != nil {
		return grant{}, fmt.Errorf("%w: %w", kms.ErrDenied, err)
	}
	secretID, err := readSecret(s.p.o.SecretIDFile)
	if err != nil {
		return grant{}, fmt.Errorf("%w: %w", kms.ErrDenied, err)
	}
	method, err := approle.NewAppRoleAuth(roleID, &approle.SecretID{FromString: secretID}, approle.WithMountPath(s.p.o.AppRoleMount))
	if err != nil {
		return grant{}, fmt.Errorf("%w: %w", kms.ErrDenied, err)
	}
	limited, cancel := context.WithTimeout(ctx, s.p.o.CallTimeout)
	defer cancel()
	secret, err := method.Login(limited, s.p.client)
	if err != nil {
		return grant{}, loginError(classify(ctx, err))
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return grant{}, fmt.Errorf("%w: the login gave no token", kms.ErrUnavailable)
	}
	return grant{secret.Auth.ClientToken, int64(secret.Auth.LeaseDuration), secret.Auth.Renewable}, nil
}

// loginError: what is not there at a login is no KEK.
func loginError(err error) error {
	if errors.Is(err, kms.ErrNotFound) {
		return fmt.Errorf("%w: no AppRole method there: %s", kms.ErrDenied, err.Error())
	}
	return err
}

// read takes the token of the file and asks the server how long it lives. A
// token that may not ask is used until it is refused.
func (s *session) read(ctx context.Context) (grant, error) {
	token, err := readSecret(s.p.o.TokenFile)
	if err != nil {
		return grant{}, fmt.Errorf("%w: %w", kms.ErrDenied, err)
	}
	r, err := s.p.send(ctx, token, http.MethodGet, "auth/token/lookup-self", nil)
	if isForbidden(err) {
		return grant{ClientToken: token}, nil
	}
	if err != nil {
		return grant{}, err
	}
	var life struct {
		TTL       int64 `json:"ttl"` // seconds
		Renewable bool  `json:"renewable"`
	}
	if err := r.read(&life); err != nil {
		return grant{}, err
	}
	return grant{token, life.TTL, life.Renewable}, nil
}
