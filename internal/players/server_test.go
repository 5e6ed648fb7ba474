package players_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"mime"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
)

// site serves the page, the players, the media, and licences. Under /new/ is the
// media root as it is; under /old/ key objects hold the old keys.
type site struct {
	*httptest.Server
	r *rotated

	mu   sync.Mutex
	seen []string // media requests
}

func serve(t *testing.T, r *rotated) *site {
	t.Helper()
	s := &site{r: r}
	mux := http.NewServeMux()
	mux.Handle("/js/", http.StripPrefix("/js/", http.FileServer(http.Dir("js"))))
	mux.HandleFunc("/page", func(w http.ResponseWriter, q *http.Request) { http.ServeFile(w, q, "testdata/page.html") })
	mux.HandleFunc("/license", license)
	media := http.FileServer(http.Dir(r.dir))
	mux.Handle("/new/", http.StripPrefix("/new/", s.media(media, false)))
	mux.Handle("/old/", http.StripPrefix("/old/", s.media(media, true)))
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// media serves what a CDN would, with its types, and remembers what was asked for.
func (s *site) media(files http.Handler, oldKeys bool) http.Handler {
	types := map[string]string{
		".m3u8": "application/vnd.apple.mpegurl", ".mpd": "application/dash+xml", ".ts": "video/mp2t",
		".m4s": "video/iso.segment", ".mp4": "video/mp4", ".bin": "application/octet-stream",
	}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, q.URL.Path)
		s.mu.Unlock()
		w.Header().Set("Cache-Control", "no-store")
		kind := types[path.Ext(q.URL.Path)]
		if kind == "" {
			kind = mime.TypeByExtension(path.Ext(q.URL.Path))
		}
		w.Header().Set("Content-Type", kind)
		asset, _, _ := strings.Cut(strings.TrimPrefix(q.URL.Path, "/"), "/")
		if oldKeys && path.Ext(q.URL.Path) == ".bin" {
			b, err := hex.DecodeString(s.r.old[asset])
			if err == nil {
				_, _ = w.Write(b)
			}
			return
		}
		files.ServeHTTP(w, q)
	})
}

// take returns the media requests since it was last called.
func (s *site) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.seen
	s.seen = nil
	return out
}

// license answers as a ClearKey licence server (W3C EME §9.1.4) with the KIDs and
// keys of its query, in hex.
func license(w http.ResponseWriter, q *http.Request) {
	type jwk struct {
		Kty string `json:"kty"`
		KID string `json:"kid"`
		K   string `json:"k"`
	}
	var set struct {
		Keys []jwk  `json:"keys"`
		Type string `json:"type"`
	}
	set.Type = "temporary"
	for kid, keys := range q.URL.Query() {
		id, err := hex.DecodeString(kid)
		k, kerr := hex.DecodeString(keys[0])
		if err != nil || kerr != nil {
			http.Error(w, "not hex", http.StatusBadRequest)
			return
		}
		set.Keys = append(set.Keys, jwk{"oct", base64.RawURLEncoding.EncodeToString(id), base64.RawURLEncoding.EncodeToString(k)})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(set)
}
