package dashboard_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"

	"github.com/seed-6133abe0/rekey/dashboard"
)

func pages(t *testing.T, admin bool) *httptest.Server {
	t.Helper()
	p, err := dashboard.New(dashboard.Options{
		Redis: asynq.RedisClientOpt{Addr: miniredis.RunT(t).Addr()}, Token: "s3same", Admin: admin,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(p)
	t.Cleanup(func() {
		srv.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv
}

func TestEveryPageWantsTheToken(t *testing.T) {
	srv := pages(t, false)
	set := map[string]func(*http.Request){
		"none":         func(*http.Request) {},
		"wrong bearer": func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3sam") },
		"empty bearer": func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") },
		"wrong basic":  func(r *http.Request) { r.SetBasicAuth("s3same", "") },
		"bearer":       func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3same") },
		"basic":        func(r *http.Request) { r.SetBasicAuth("anybody", "s3same") },
	}
	for name, auth := range set {
		for _, path := range []string{"/", "/queue", "/queue/api/queues"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			auth(r)
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			want := http.StatusUnauthorized
			if name == "bearer" || name == "basic" {
				want = http.StatusOK
			}
			// Redirects drop no header within one host.
			if resp.StatusCode != want {
				t.Errorf("%s %s: status %d, want %d", name, path, resp.StatusCode, want)
			}
		}
	}
}

func TestReadOnlyUnlessAdmin(t *testing.T) {
	for _, admin := range []bool{false, true} {
		srv := pages(t, admin)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/queue/api/queues/compromise:pause", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("x", "s3same")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if forbidden := resp.StatusCode == http.StatusMethodNotAllowed; forbidden == admin {
			t.Errorf("admin %v: pausing a queue gives status %d", admin, resp.StatusCode)
		}
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		resp, err = http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("admin %v: a cross-site request gives status %d", admin, resp.StatusCode)
		}
	}
}

func TestNoTokenIsNoOpenDoor(t *testing.T) {
	if _, err := dashboard.New(dashboard.Options{}); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("pages without a token: %v", err)
	}
}
