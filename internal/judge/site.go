package judge

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// site publishes a media root over HTTP on this machine, as a CDN does.
type site struct {
	root, url string
	// swapped are objects that are answered with other bytes.
	swapped map[string][]byte
}

// serve publishes a media root. What is asked for with a query is answered for
// FFmpeg: see forFFmpeg.
func serve(t testing.TB, root string, swapped map[string][]byte) *site {
	t.Helper()
	s := &site{root: root, swapped: swapped}
	files := http.FileServer(http.Dir(root))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		// FFmpeg believes a type: no guess is better than a wrong one, such as
		// MP3 for all that begins with ID3.
		w.Header().Set("Content-Type", "application/octet-stream")
		if path.Ext(key) == ".m3u8" {
			w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
		}
		b, ok := s.swapped[key]
		if q := r.URL.Query(); !ok && q.Has("ffmpeg") {
			var err error
			if b, err = s.forFFmpeg(t, key, q); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			ok = true
		}
		if !ok {
			files.ServeHTTP(w, r)
			return
		}
		_, _ = w.Write(b) // a player that goes away is its own business
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *site) link(key, query string) string {
	return s.url + (&url.URL{Path: "/" + key}).EscapedPath() + query
}

// How FFmpeg 5.1 gets what it does not play as it is. It leaves what its parsers
// still hold at the end of SAMPLE-AES, up to two packets of a stream, encrypted:
// the last segment comes twice (a picture of an I-frame playlist three times). It
// does not recognise encrypted AC-3 outside of TS: it gets that in TS. The ranges
// of an I-frame playlist may leave out the program tables: those come first.
const (
	asTS      = "?ffmpeg"
	twice     = "?ffmpeg&twice"
	withTable = "?ffmpeg&twice&table"
)

func (s *site) forFFmpeg(t testing.TB, key string, how url.Values) ([]byte, error) {
	name := filepath.Join(s.root, filepath.FromSlash(key))
	switch path.Ext(key) {
	case ".ac3":
		return output(t, nil, "ffmpeg", "-nostdin", "-v", "error", "-f", "ac3", "-i", name, "-c", "copy", "-f", "mpegts", "-")
	case ".ec3":
		return output(t, nil, "ffmpeg", "-nostdin", "-v", "error", "-f", "eac3", "-i", name, "-c", "copy", "-f", "mpegts", "-")
	}
	p, err := readPlaylist(s.root, key, nil, nil)
	if err != nil {
		return nil, err
	}
	if len(p.pieces) == 0 {
		return nil, fmt.Errorf("%s lists nothing", key)
	}
	text := strings.TrimRight(strings.ReplaceAll(strings.Join(p.lines, ""), "#EXT-X-ENDLIST", ""), "\r\n") + "\n"
	first := strings.Index(text, "#EXTINF")
	if how.Has("twice") {
		last := text[strings.LastIndex(text, "#EXTINF"):]
		text += last
		if p.iframes {
			text += last // one packet each
		}
	}
	if how.Has("table") {
		object, err := os.ReadFile(filepath.Join(s.root, filepath.FromSlash(p.pieces[0].object)))
		if err != nil {
			return nil, err
		}
		ref := strings.TrimSpace(p.lines[p.pieces[0].line-1])
		text = text[:first] + fmt.Sprintf("#EXTINF:0.1,\n#EXT-X-BYTERANGE:%d@0\n%s\n", tables(object), ref) + text[first:]
	}
	for _, ext := range []string{".ac3", ".ec3"} {
		text = strings.ReplaceAll(text, ext+"\n", ext+asTS+"\n")
	}
	return []byte(text + "#EXT-X-ENDLIST\n"), nil
}
