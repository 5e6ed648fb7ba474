package vault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/vault"
	"github.com/seed-6133abe0/rekey/kms/vault/vaulttest"
)

// answers makes the service answer all but what is about tokens.
func (s *service) answers(status int, errs ...string) {
	body := fmt.Sprintf(`{"errors":[%s]}`, strings.Join(quoted(errs), ","))
	s.Set(func() {
		s.Fault = func(r vaulttest.Request) (int, string) {
			if strings.HasPrefix(r.Path, "auth/") {
				return 0, ""
			}
			return status, body
		}
	})
}

func quoted(all []string) (q []string) {
	for _, s := range all {
		q = append(q, fmt.Sprintf("%q", s))
	}
	return q
}

func TestProtocolErrorClasses(t *testing.T) {
	k := newKEK(t, newService(t), nil)
	for status, want := range map[int]error{
		400: kms.ErrDenied, // with a text that says nothing more
		403: kms.ErrDenied,
		404: kms.ErrNotFound,
		405: kms.ErrDenied,
		408: kms.ErrUnavailable,
		412: kms.ErrUnavailable, // a node that lags behind
		413: kms.ErrDenied,
		429: kms.ErrThrottled,
		472: kms.ErrUnavailable,
		473: kms.ErrUnavailable,
		500: kms.ErrUnavailable,
		502: kms.ErrUnavailable,
		503: kms.ErrUnavailable, // sealed
	} {
		k.answers(status, "Vault is what it is")
		for name, do := range everyCall(t, k, t.Context()) {
			if status == 404 && name == "Create" { // no engine there: the names seem free
				wantOne(t, "Create 404", do(), kms.ErrNotFound)
				continue
			}
			k.Taken()
			what := fmt.Sprint(name, " ", status)
			wantOne(t, what, do(), want)
			if calls := k.Taken(); len(calls) != 1 && status != 403 && status != 404 {
				t.Errorf("%s: called %v, want one call and no retry", what, calls)
			}
		}
	}
}

// TestProtocolTexts: what 400 means is in the text.
func TestProtocolTexts(t *testing.T) {
	k := newKEK(t, newService(t), nil)
	for text, want := range map[string]error{
		"cipher: message authentication failed":                                            kms.ErrMismatch,
		"invalid ciphertext: no prefix":                                                    kms.ErrMismatch,
		"invalid ciphertext: version is too new":                                           kms.ErrMismatch,
		"ciphertext or signature version is disallowed by policy (too old)":                kms.ErrDisabled,
		"requested version for encryption is less than the minimum encryption key version": kms.ErrDisabled,
		"no such key version":                                                              kms.ErrDisabled,
		"refusing to use soft-deleted key":                                                 kms.ErrDisabled,
		"encryption key not found":                                                         kms.ErrNotFound,
		"1 error occurred:\n\t* encryption key not found\n\n":                              kms.ErrNotFound,
		"convergent encryption requires derivation to be enabled, so context is required":  kms.ErrNotFound,
		"requested version for encryption is higher than the latest key version":           kms.ErrDenied,
		"missing 'context' for key derivation; the key was created using a derived key":    kms.ErrDenied,
	} {
		k.answers(400, text)
		all := everyCall(t, k, t.Context())
		wantOne(t, "Wrap: "+text, all["Wrap"](), want)
		wantOne(t, "Unwrap: "+text, all["Unwrap"](), want)
		if err := all["Wrap"](); strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: on several lines", err)
		}
	}
	for text, want := range map[string]error{
		"no existing key named kek could be found":                           kms.ErrNotFound,
		"error deleting policy kek: deletion is not allowed for this policy": kms.ErrDenied,
		"cannot set min decryption version of 2, latest key version is 1":    kms.ErrDenied,
	} {
		k.Set(func() {
			k.Fault = func(r vaulttest.Request) (int, string) {
				if strings.HasSuffix(r.Path, "/config") {
					return 400, fmt.Sprintf(`{"errors":[%q]}`, text)
				}
				return 0, ""
			}
		})
		wantOne(t, "Disable: "+text, k.Disable(t.Context(), k.id), want)
	}
}

// broken is a transport that fails.
type broken func(*http.Request) (*http.Response, error)

func (b broken) RoundTrip(r *http.Request) (*http.Response, error) { return b(r) }

func response(r *http.Request, status int, body io.Reader) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(body), Request: r}
}

// failing reads a little and then no more.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestProtocolTransport(t *testing.T) {
	var fault broken
	s := newService(t)
	k := newKEK(t, s, func(o *vault.Options) {
		o.CallTimeout = 100 * time.Millisecond
		o.Transport = func(next http.RoundTripper) http.RoundTripper {
			return broken(func(r *http.Request) (*http.Response, error) {
				if fault != nil {
					return fault(r)
				}
				return next.RoundTrip(r)
			})
		}
	})
	html := "<html>" + strings.Repeat("x", 5000)
	for name, f := range map[string]broken{
		"refused": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"slow": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"slow body": func(r *http.Request) (*http.Response, error) {
			return response(r, 200, failing{context.DeadlineExceeded}), nil
		},
		"cut body": func(r *http.Request) (*http.Response, error) {
			return response(r, 200, failing{io.ErrUnexpectedEOF}), nil
		},
		"cut error": func(r *http.Request) (*http.Response, error) {
			return response(r, 403, failing{io.ErrUnexpectedEOF}), nil
		},
		"a page":      func(r *http.Request) (*http.Response, error) { return response(r, 200, strings.NewReader(html)), nil },
		"a page, 502": func(r *http.Request) (*http.Response, error) { return response(r, 502, strings.NewReader(html)), nil },
		"other JSON": func(r *http.Request) (*http.Response, error) {
			return response(r, 200, strings.NewReader(`{"data":[1]}`)), nil
		},
		"endless":       func(r *http.Request) (*http.Response, error) { return response(r, 200, endless{}), nil },
		"moved nowhere": func(r *http.Request) (*http.Response, error) { return response(r, 304, strings.NewReader("")), nil },
	} {
		for call, do := range everyCall(t, k, t.Context()) {
			fault = f
			err := do()
			wantOne(t, name+": "+call, err, kms.ErrUnavailable)
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("%s: %s: an error of %d bytes", name, call, len(err.Error()))
			}
			fault = nil
		}
	}
	// Nothing of an answer is believed that is not as it must be.
	for body, call := range map[string]string{
		`{"data":{}}`: "Wrap",
		`{"data":{"ciphertext":"vault:v2:AAAA","key_version":2}}`: "Wrap",
		`{"data":{"plaintext":"!"}}`:                              "Unwrap",
		`{"data":{"plaintext":5}}`:                                "Unwrap",
		``:                                                        "Unwrap",
	} {
		fault = func(r *http.Request) (*http.Response, error) { return response(r, 200, strings.NewReader(body)), nil }
		wantOne(t, call+" "+body, everyCall(t, k, t.Context())[call](), kms.ErrUnavailable)
		fault = nil
	}
	fault = func(r *http.Request) (*http.Response, error) {
		return response(r, 200, strings.NewReader(`{"data":{"plaintext":"AAAA"}}`)), nil
	}
	wantOne(t, "Unwrap to 3 bytes", everyCall(t, k, t.Context())["Unwrap"](), kms.ErrMismatch)
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// TestProtocolContext: the context's own errors stay what they are.
func TestProtocolContext(t *testing.T) {
	k := newKEK(t, newService(t), nil)
	slow := open(t, func() vault.Options {
		o := k.options(t)
		o.Transport = func(http.RoundTripper) http.RoundTripper {
			return broken(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
		}
		return o
	}())
	for name := range everyCall(t, k, t.Context()) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		wantOne(t, name, everyCall(t, kek{k.service, slow, k.id}, ctx)[name](), context.DeadlineExceeded)
		cancel()
	}
}

// TestRedirects: the active node's address is followed once, never to http.
func TestRedirects(t *testing.T) {
	s := newService(t)
	k := newKEK(t, s, nil)
	to := s.URL
	standby := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(standby.Close)
	o := s.options(t) // both servers of httptest have one certificate
	o.Address = standby.URL
	if _, err := open(t, o).Wrap(t.Context(), k.id, key.NewKID(), key.NewContentKey()); err != nil {
		t.Errorf("Wrap through a standby: %v", err)
	}
	var clear int
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { clear++ }))
	t.Cleanup(plain.Close)
	to = plain.URL
	_, err := open(t, o).Wrap(t.Context(), k.id, key.NewKID(), key.NewContentKey())
	wantOne(t, "redirected to http", err, kms.ErrUnavailable)
	from := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(from.Close)
	o.Address = from.URL
	_, err = open(t, o).Wrap(t.Context(), k.id, key.NewKID(), key.NewContentKey())
	wantOne(t, "redirected from http", err, kms.ErrUnavailable)
	if clear != 0 {
		t.Errorf("%d calls went on over plain HTTP", clear)
	}
}
