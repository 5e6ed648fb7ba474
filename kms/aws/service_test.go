package aws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/aws"
)

// service is AWS KMS as the tests need it: a transport to local-kms that answers
// itself where AWS would answer otherwise, and where a test wants a fault.
type service struct {
	services.LocalKMS

	mu      sync.Mutex
	ahead   time.Duration // how far the service's clock and the provider's have moved
	calls   []string      // actions, in the order they were asked for
	fault   func(*request) *answer
	policy  *policy // what the caller may do; nil: everything
	spread  time.Duration
	changed map[string]*change // by ARN
}

// request is one call as the service sees it.
type request struct {
	action string
	body   map[string]any
	http   *http.Request
	raw    []byte
}

func (r *request) text(name string) string {
	s, _ := r.body[name].(string)
	return s
}

// answer is what comes back instead; err if nothing does.
type answer struct {
	status int
	body   string
	err    error
}

// awsError is an error as AWS KMS spells it (awsJson1_1): AccessDeniedException
// has a capital in "Message", and some have no message.
func awsError(code, message string) *answer {
	status := http.StatusBadRequest
	switch code {
	case "KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException", "InternalFailure":
		status = http.StatusInternalServerError
	case "ServiceUnavailableException":
		status = http.StatusServiceUnavailable
	}
	field := "message"
	if code == "AccessDeniedException" {
		field = "Message"
	}
	fields := map[string]string{"__type": code}
	if message != "" {
		fields[field] = message
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return &answer{err: err}
	}
	return &answer{status: status, body: string(b)}
}

func (a *answer) response(r *http.Request) (*http.Response, error) {
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header:        http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amzn-Requestid": {"b3c9b7f0-0000-4000-8000-000000000000"}},
		ContentLength: int64(len(a.body)),
		Body:          io.NopCloser(strings.NewReader(a.body)),
	}, nil
}

func newService(t *testing.T) *service {
	t.Helper()
	cleanEnv(t)
	return &service{LocalKMS: services.StartLocalKMS(t), changed: map[string]*change{}}
}

// RoundTrip is the client's transport.
func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	req := &request{action: strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService."), http: r, raw: raw}
	if err := json.Unmarshal(raw, &req.body); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.calls = append(s.calls, req.action)
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		if a := fault(req); a != nil {
			return a.response(r)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.denies(req)
	if a == nil {
		a = s.differs(req)
	}
	if a == nil {
		a = s.ask(req.action, raw)
	}
	return a.response(r)
}

// ask calls local-kms.
func (s *service) ask(action string, body []byte) *answer {
	r, err := http.NewRequest(http.MethodPost, s.Endpoint, bytes.NewReader(body))
	if err != nil {
		return &answer{err: err}
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService."+action)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return &answer{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return &answer{status: resp.StatusCode, body: string(b), err: err}
}

// about asks local-kms for something about a key, by ARN or alias.
func (s *service) about(action string, fields map[string]any) map[string]any {
	b, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	var out map[string]any
	if a := s.ask(action, b); a.err == nil && a.status == http.StatusOK && a.body != "" {
		if err := json.Unmarshal([]byte(a.body), &out); err != nil {
			panic(err)
		}
	}
	return out
}

// metadata is nil for a key that is not there.
func (s *service) metadata(id string) map[string]any {
	m, _ := s.about("DescribeKey", map[string]any{"KeyId": id})["KeyMetadata"].(map[string]any)
	return m
}

func (s *service) set(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// taken returns the calls since it was asked last.
func (s *service) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// now is told under the lock; clock is for the provider.
func (s *service) now() time.Time { return time.Now().Add(s.ahead) }

func (s *service) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *service) pass(d time.Duration) { s.set(func() { s.ahead += d }) }

// open makes another client of the service; change, if not nil, sees its options.
func (s *service) open(t *testing.T, change func(*aws.Options)) kms.Provider {
	t.Helper()
	o := aws.Options{
		Region: s.Region, Endpoint: s.Endpoint, Clock: s.clock, Poll: 5 * time.Second,
		Load: loading(
			config.WithHTTPClient(&http.Client{Transport: s}),
			config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIDTEST", "credential that must not show", "")),
		),
		Wait: func(ctx context.Context, d time.Duration) error { s.pass(d); return ctx.Err() },
	}
	if change != nil {
		change(&o)
	}
	p, err := aws.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// cleanEnv takes AWS's settings of the machine out of the environment.
func cleanEnv(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "AWS_") {
			continue
		}
		t.Setenv(name, value) // puts it back in the end
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// loading keeps the settings in the files of the machine out.
func loading(more ...func(*config.LoadOptions) error) []func(*config.LoadOptions) error {
	return append([]func(*config.LoadOptions) error{
		config.WithSharedConfigFiles(nil), config.WithSharedCredentialsFiles(nil),
	}, more...)
}

// kek is one KEK seen through one client.
type kek struct {
	*service
	kms.Provider
	id string
}

func newKEK(t *testing.T) kek {
	t.Helper()
	s := newService(t)
	return s.kek(t, "movies")
}

func (s *service) kek(t *testing.T, name string) kek {
	t.Helper()
	p := s.open(t, nil)
	id, err := p.Create(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	s.taken()
	return kek{s, p, id}
}

func (k kek) arn() string { return strings.TrimPrefix(k.id, aws.Scheme+":") }

func (k kek) wrapped(t *testing.T, kid key.KID, c key.ContentKey) []byte {
	t.Helper()
	w, err := k.Wrap(t.Context(), k.id, kid, c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// faulty makes every call of an action fail, in place of what was set before.
func (s *service) faulty(faults map[string]*answer) {
	s.set(func() { s.fault = func(r *request) *answer { return faults[r.action] } })
}

func (s *service) sound() { s.set(func() { s.fault = nil }) }

func (s *service) String() string { return fmt.Sprintf("local-kms of account %s", s.Account) }
