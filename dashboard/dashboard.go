package dashboard

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/hibiken/asynqmon"

	"github.com/seed-6133abe0/rekey/access"
)

// Options set up the pages.
type Options struct {
	Redis asynq.RedisConnOpt
	// Token is asked of every request, as a bearer token or as the password of
	// HTTP basic authentication (RFC 7617) under any user name.
	Token string
	// Admin lets the queue page change the queue. Zero: it only shows it.
	Admin bool
	// Metrics is served at /metrics, with an API to those whose role reads them,
	// else behind the token. Nil: there are none.
	Metrics http.Handler
	// API is served to the holders of roles. Nil: there is none.
	API *API
}

// Pages are the HTTP pages. Close releases their connections.
type Pages struct {
	http.Handler
	mon *asynqmon.HTTPHandler
}

// New makes the pages; an empty token is an error, not an open door.
func New(o Options) (*Pages, error) {
	if o.Token == "" {
		return nil, errors.New("make pages: no token")
	}
	mon := asynqmon.New(asynqmon.Options{RootPath: "/queue", RedisConnOpt: o.Redis, ReadOnly: !o.Admin})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	// Browsers send basic credentials along with requests that other sites
	// make; those may look at nothing and change nothing.
	guard := http.NewCrossOriginProtection()
	protected := guard.Handler(mon)
	mux.Handle("/queue/", authenticated(o.Token, protected))
	mux.Handle("/queue", authenticated(o.Token, protected))
	mux.Handle("GET /{$}", authenticated(o.Token, http.RedirectHandler("/queue", http.StatusFound)))
	if o.API != nil {
		mux.Handle("/api/", o.API.Handler())
	}
	switch {
	case o.Metrics == nil:
	case o.API != nil:
		mux.Handle("GET /metrics", access.Guard(o.API.Identities, access.MetricsRead, o.Metrics))
	default:
		mux.Handle("GET /metrics", authenticated(o.Token, o.Metrics))
	}
	return &Pages{Handler: mux, mon: mon}, nil
}

// Close releases the pages' connections to Redis.
func (p *Pages) Close() error { return p.mon.Close() }

func authenticated(token string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			_, given, ok = r.BasicAuth()
		}
		got := sha256.Sum256([]byte(given))
		if !ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="rekey", charset="UTF-8"`)
			http.Error(w, "the token is wanted", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
