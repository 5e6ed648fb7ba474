package vaulttest

import (
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Service is a server. What is exported is for Set to change, and for tests to
// look at while nobody calls.
type Service struct {
	*httptest.Server
	mu        sync.Mutex
	Mount     string
	Namespace string
	Offset    time.Duration // of its clock
	Keys      map[string]*Key
	Tokens    map[string]*Token
	// What an AppRole logs in with, and the life of what it gets.
	RoleID, SecretID string
	ttl, maxTTL      time.Duration
	// Policy says whether a token may, and the path of the policy that decided.
	// Nil: every token is root's.
	Policy func(capability, path string, params map[string]any) (rule string, ok bool)
	Calls  []Request
	Logins int
	// Fault answers in the service's place; status 0: it does not.
	Fault func(r Request) (status int, body string)
	// IgnoresAAD is Vault before 1.13; NoDate sends no clock; Quiet warns of nothing.
	IgnoresAAD, NoDate, Quiet bool
}

// Request is a call that came in, and the policy's path that allowed it.
type Request struct {
	Method, Path, Rule, Capability string
	Params                         []string
}

// Token is one that was given out.
type Token struct {
	Ends, Most time.Time // zero: never
	Renewable  bool
}

// RootToken may do everything, unless Policy says otherwise.
const RootToken = "hvs.root-of-the-test"

// New starts a service over TLS on loopback, until the test ends.
func New(t testing.TB) *Service {
	t.Helper()
	s := &Service{
		Mount: "transit", Keys: map[string]*Key{}, Tokens: map[string]*Token{RootToken: {}},
		RoleID: "role-of-the-test", SecretID: "secret-of-the-test", ttl: time.Hour, maxTTL: 24 * time.Hour,
	}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are to fail
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// Set changes the service between calls.
func (s *Service) Set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Taken returns the calls since it was asked last, without those about tokens.
func (s *Service) Taken() (calls []Request) {
	s.Set(func() {
		calls = slices.DeleteFunc(s.Calls, func(r Request) bool { return strings.HasPrefix(r.Path, "auth/") })
		s.Calls = nil
	})
	return calls
}

// Clock is the time of a caller within Set.
func (s *Service) Clock() time.Time { return time.Now().Add(s.Offset) }

// Now is the service's clock, for clients.
func (s *Service) Now() (t time.Time) {
	s.Set(func() { t = s.Clock() })
	return t
}

// Later moves the clock.
func (s *Service) Later(d time.Duration) { s.Set(func() { s.Offset += d }) }

// CA is the certificate, in PEM, that clients check the server's against.
func (s *Service) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// refused is an answer of status 400 or more.
type refused struct {
	status int
	errors []string
}

func (r refused) Error() string { return fmt.Sprint(r.status, r.errors) }

func bad(format string, a ...any) error { return refused{400, []string{fmt.Sprintf(format, a...)}} }

func forbidden() error { return refused{403, []string{"1 error occurred:\n\t* permission denied\n\n"}} }

func unsupported() error {
	return refused{405, []string{"1 error occurred:\n\t* unsupported operation\n\n"}}
}

func nothingThere() error { return refused{404, []string{}} }

func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header()["Date"] = nil
	if !s.NoDate {
		w.Header().Set("Date", s.Clock().UTC().Format(http.TimeFormat))
	}
	path, _ := strings.CutPrefix(r.URL.Path, "/v1/")
	if s.Fault != nil {
		if status, body := s.Fault(Request{Method: r.Method, Path: path}); status != 0 {
			s.Calls = append(s.Calls, Request{Method: r.Method, Path: path})
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return
		}
	}
	data, err := s.serve(r, path)
	var no refused
	if errors.As(err, &no) {
		w.WriteHeader(no.status)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": no.errors})
		return
	}
	if data == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	_ = json.NewEncoder(w).Encode(data)
}

// serve checks what all calls have in common.
func (s *Service) serve(r *http.Request, path string) (map[string]any, error) {
	switch {
	case !strings.HasPrefix(r.URL.Path, "/v1/") || strings.HasSuffix(path, "."):
		return nil, refused{404, []string{"unsupported path"}}
	case r.URL.RawQuery != "":
		return nil, bad("query parameters: %s", r.URL.RawQuery)
	case r.Header.Get("X-Vault-Request") != "true":
		return nil, bad("no X-Vault-Request")
	case r.Header.Get("X-Vault-Wrap-TTL") != "":
		return nil, bad("response wrapping was asked for")
	case r.Header.Get("X-Vault-Namespace") != s.Namespace:
		return nil, refused{404, []string{"no handler for route"}}
	}
	params := map[string]any{}
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		d := json.NewDecoder(r.Body)
		d.UseNumber()
		if err := d.Decode(&params); err != nil {
			return nil, bad("failed to parse JSON input: %v", err)
		}
	}
	s.rotateDue()
	if path == "auth/approle/login" {
		return s.login(r, params)
	}
	token := r.Header.Get("X-Vault-Token")
	held, ok := s.Tokens[token]
	if !ok || !held.Ends.IsZero() && !s.Clock().Before(held.Ends) {
		return nil, refused{403, []string{"2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"}}
	}
	capability, err := s.capability(r.Method, path)
	if err != nil {
		return nil, err
	}
	call := Request{Method: r.Method, Path: path, Capability: capability}
	for name := range params {
		call.Params = append(call.Params, name)
	}
	slices.Sort(call.Params)
	if s.Policy != nil {
		rule, ok := s.Policy(capability, path, params)
		if !ok {
			return nil, forbidden()
		}
		call.Rule = rule
	}
	s.Calls = append(s.Calls, call)
	if strings.HasPrefix(path, "auth/token/") {
		return s.aboutToken(path, token, held, params)
	}
	return s.transit(capability, path, params)
}

// capability maps a method. Encrypt alone tells create from update.
func (s *Service) capability(method, path string) (string, error) {
	switch method {
	case http.MethodGet:
		return "read", nil
	case http.MethodDelete:
		return "delete", nil
	case http.MethodPut, http.MethodPost:
		name, encrypt := strings.CutPrefix(path, s.Mount+"/encrypt/")
		if encrypt && s.Keys[name] == nil {
			return "create", nil
		}
		return "update", nil
	}
	return "", unsupported()
}

// documented refuses parameters that are not, or are of another type.
func documented(params map[string]any, types map[string]string) error {
	for name, v := range params {
		ok := false
		switch types[name] {
		case "string":
			_, ok = v.(string)
		case "bool":
			_, ok = v.(bool)
		case "int":
			n, isNumber := v.(json.Number)
			_, err := n.Int64()
			ok = isNumber && err == nil
		case "duration":
			text, isText := v.(string)
			_, err := time.ParseDuration(text)
			ok = isText && err == nil
		}
		if !ok {
			return bad("parameter %s: %v", name, v)
		}
	}
	return nil
}

func (s *Service) login(r *http.Request, params map[string]any) (map[string]any, error) {
	s.Logins++
	if err := documented(params, map[string]string{"role_id": "string", "secret_id": "string"}); err != nil {
		return nil, err
	}
	if r.Method != http.MethodPut && r.Method != http.MethodPost {
		return nil, unsupported()
	}
	if params["role_id"] != s.RoleID || params["secret_id"] != s.SecretID {
		return nil, bad("invalid role or secret ID")
	}
	token := "hvs." + rand.Text()
	now := s.Clock()
	s.Tokens[token] = &Token{Ends: now.Add(s.ttl), Most: now.Add(s.maxTTL), Renewable: true}
	return grant(token, s.ttl), nil
}

func grant(token string, life time.Duration) map[string]any {
	return map[string]any{"auth": map[string]any{
		"client_token": token, "lease_duration": int(life.Seconds()), "renewable": true, "policies": []string{"default"},
	}}
}

func (s *Service) aboutToken(path, token string, held *Token, params map[string]any) (map[string]any, error) {
	now := s.Clock()
	switch path {
	case "auth/token/lookup-self":
		ttl := 0
		if !held.Ends.IsZero() {
			ttl = int(held.Ends.Sub(now).Seconds())
		}
		return map[string]any{"data": map[string]any{"id": token, "ttl": ttl, "renewable": held.Renewable, "policies": []string{"default"}}}, nil
	case "auth/token/renew-self":
		if err := documented(params, map[string]string{"increment": "duration"}); err != nil {
			return nil, err
		}
		if !held.Renewable {
			return nil, bad("lease is not renewable")
		}
		held.Ends = now.Add(s.ttl)
		if held.Ends.After(held.Most) {
			held.Ends = held.Most
		}
		return grant(token, held.Ends.Sub(now)), nil
	}
	return nil, refused{404, []string{"unsupported path"}}
}
