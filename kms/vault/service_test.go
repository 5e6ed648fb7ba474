package vault_test

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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// service is a server written from the documents that the package comment names.
// It is stricter than they are: parameters that an endpoint does not document are
// refused, where Vault ignores them.
type service struct {
	*httptest.Server
	mu        sync.Mutex
	mount     string
	namespace string
	offset    time.Duration // of its clock
	keys      map[string]*fakeKey
	tokens    map[string]*fakeToken
	// What an AppRole logs in with, and the life of what it gets.
	roleID, secretID string
	ttl, maxTTL      time.Duration
	policy           acl // of tokens; nil: root
	calls            []request
	logins           int
	// fault answers in the service's place; status 0: it does not.
	fault func(r request) (status int, body string)
	// ignoresAAD is Vault before 1.13; noDate sends no clock; quiet warns of nothing.
	ignoresAAD, noDate, quiet bool
}

// request is a call that came in, and the policy's path that allowed it.
type request struct {
	method, path, rule, capability string
	params                         []string
}

type fakeToken struct {
	ends, most time.Time // zero: never
	renewable  bool
}

const rootToken = "hvs.root-of-the-test"

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{
		mount: "transit", keys: map[string]*fakeKey{}, tokens: map[string]*fakeToken{rootToken: {}},
		roleID: "role-of-the-test", secretID: "secret-of-the-test", ttl: time.Hour, maxTTL: 24 * time.Hour,
	}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are to fail
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// set changes the service between calls.
func (s *service) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// taken returns the calls since it was asked last, without those about tokens.
func (s *service) taken() (calls []request) {
	s.set(func() {
		calls = slices.DeleteFunc(s.calls, func(r request) bool { return strings.HasPrefix(r.path, "auth/") })
		s.calls = nil
	})
	return calls
}

func (s *service) clock() time.Time { return time.Now().Add(s.offset) }

// now is the service's clock, for clients.
func (s *service) now() (t time.Time) {
	s.set(func() { t = s.clock() })
	return t
}

func (s *service) later(d time.Duration) { s.set(func() { s.offset += d }) }

// file writes a file for a client.
func file(t *testing.T, mode os.FileMode, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return name
}

func (s *service) caFile(t *testing.T) string {
	return file(t, 0o644, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
}

// refused is an answer of status 400 or more.
type refused struct {
	status int
	errors []string
}

func (r refused) Error() string { return fmt.Sprint(r.status, r.errors) }

func bad(format string, a ...any) error { return refused{400, []string{fmt.Sprintf(format, a...)}} }

var (
	forbidden    = refused{403, []string{"1 error occurred:\n\t* permission denied\n\n"}}
	unsupported  = refused{405, []string{"1 error occurred:\n\t* unsupported operation\n\n"}}
	nothingThere = refused{404, []string{}}
)

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header()["Date"] = nil
	if !s.noDate {
		w.Header().Set("Date", s.clock().UTC().Format(http.TimeFormat))
	}
	path, _ := strings.CutPrefix(r.URL.Path, "/v1/")
	if s.fault != nil {
		if status, body := s.fault(request{method: r.Method, path: path}); status != 0 {
			s.calls = append(s.calls, request{method: r.Method, path: path})
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
func (s *service) serve(r *http.Request, path string) (map[string]any, error) {
	switch {
	case !strings.HasPrefix(r.URL.Path, "/v1/") || strings.HasSuffix(path, "."):
		return nil, refused{404, []string{"unsupported path"}}
	case r.URL.RawQuery != "":
		return nil, bad("query parameters: %s", r.URL.RawQuery)
	case r.Header.Get("X-Vault-Request") != "true":
		return nil, bad("no X-Vault-Request")
	case r.Header.Get("X-Vault-Wrap-TTL") != "":
		return nil, bad("response wrapping was asked for")
	case r.Header.Get("X-Vault-Namespace") != s.namespace:
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
	held, ok := s.tokens[token]
	if !ok || !held.ends.IsZero() && !s.clock().Before(held.ends) {
		return nil, refused{403, []string{"2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"}}
	}
	capability, err := s.capability(r.Method, path)
	if err != nil {
		return nil, err
	}
	call := request{method: r.Method, path: path, capability: capability}
	for name := range params {
		call.params = append(call.params, name)
	}
	slices.Sort(call.params)
	if s.policy != nil {
		rule, ok := s.policy.allows(capability, path, params)
		if !ok {
			return nil, forbidden
		}
		call.rule = rule
	}
	s.calls = append(s.calls, call)
	if strings.HasPrefix(path, "auth/token/") {
		return s.aboutToken(path, token, held, params)
	}
	return s.transit(capability, path, params)
}

// capability maps a method. Encrypt alone tells create from update.
func (s *service) capability(method, path string) (string, error) {
	switch method {
	case http.MethodGet:
		return "read", nil
	case http.MethodDelete:
		return "delete", nil
	case http.MethodPut, http.MethodPost:
		name, encrypt := strings.CutPrefix(path, s.mount+"/encrypt/")
		if encrypt && s.keys[name] == nil {
			return "create", nil
		}
		return "update", nil
	}
	return "", unsupported
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

func (s *service) login(r *http.Request, params map[string]any) (map[string]any, error) {
	s.logins++
	if err := documented(params, map[string]string{"role_id": "string", "secret_id": "string"}); err != nil {
		return nil, err
	}
	if r.Method != http.MethodPut && r.Method != http.MethodPost {
		return nil, unsupported
	}
	if params["role_id"] != s.roleID || params["secret_id"] != s.secretID {
		return nil, bad("invalid role or secret ID")
	}
	token := "hvs." + rand.Text()
	now := s.clock()
	s.tokens[token] = &fakeToken{ends: now.Add(s.ttl), most: now.Add(s.maxTTL), renewable: true}
	return grant(token, s.ttl), nil
}

func grant(token string, life time.Duration) map[string]any {
	return map[string]any{"auth": map[string]any{
		"client_token": token, "lease_duration": int(life.Seconds()), "renewable": true, "policies": []string{"default"},
	}}
}

func (s *service) aboutToken(path, token string, held *fakeToken, params map[string]any) (map[string]any, error) {
	now := s.clock()
	switch path {
	case "auth/token/lookup-self":
		ttl := 0
		if !held.ends.IsZero() {
			ttl = int(held.ends.Sub(now).Seconds())
		}
		return map[string]any{"data": map[string]any{"id": token, "ttl": ttl, "renewable": held.renewable, "policies": []string{"default"}}}, nil
	case "auth/token/renew-self":
		if err := documented(params, map[string]string{"increment": "duration"}); err != nil {
			return nil, err
		}
		if !held.renewable {
			return nil, bad("lease is not renewable")
		}
		held.ends = now.Add(s.ttl)
		if held.ends.After(held.most) {
			held.ends = held.most
		}
		return grant(token, held.ends.Sub(now)), nil
	}
	return nil, refused{404, []string{"unsupported path"}}
}
