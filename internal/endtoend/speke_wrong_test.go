package endtoend

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/internal/services"
)

// leakedKey is movieVideo's (fixtures/keys.txt).
const leakedKey = "3f1c9a5e7d024b86c8e1f0a39b6d2574"

// misbehaviour is one way of a key service to fail, and what must be said of it.
type misbehaviour struct {
	name, class, reason string
	answer              func(http.ResponseWriter, *http.Request, exchange)
}

func status(code int) func(http.ResponseWriter, *http.Request, exchange) {
	return func(w http.ResponseWriter, _ *http.Request, _ exchange) {
		http.Error(w, "the words of a service", code)
	}
}

// hangUp breaks the connection off.
func hangUp(w http.ResponseWriter, _ *http.Request, _ exchange) {
	if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = c.Close()
	}
}

// away are those that both modes meet.
func away(ctx context.Context) []misbehaviour {
	return []misbehaviour{
		{"refuses", "key-service-refused", "403", status(http.StatusForbidden)},
		{"takes no such document", "key-service-refused", "422", status(http.StatusUnprocessableEntity)},
		{"broken", "key-service-unavailable", "503", status(http.StatusServiceUnavailable)},
		{"hangs up", "key-service-unavailable", "EOF", hangUp},
		{"slow", "key-service-unavailable", "deadline", waits(ctx)},
		{"redirects", "key-service-contract", "redirects", func(w http.ResponseWriter, r *http.Request, _ exchange) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}},
		{"no XML", "key-service-contract", "malformed", func(w http.ResponseWriter, _ *http.Request, _ exchange) {
			w.Header().Set("X-Speke-Version", "2.0")
			w.Header().Set("Content-Type", "application/xml")
			_, _ = io.WriteString(w, "no keys today")
		}},
	}
}

// edits change the right answer into a wrong one.
func (s *spekeServer) edits() []misbehaviour {
	edit := func(change func(string, exchange) string) func(http.ResponseWriter, *http.Request, exchange) {
		return func(w http.ResponseWriter, _ *http.Request, x exchange) {
			right := s.document(x)
			wrong := change(right, x)
			if right == wrong {
				s.fault("nothing of the answer was changed")
			}
			s.reply(w, wrong)
		}
	}
	value := func(doc string, raw []byte) string {
		head, rest, _ := strings.Cut(doc, "<p:PlainValue>")
		_, tail, _ := strings.Cut(rest, "</p:PlainValue>")
		return head + "<p:PlainValue>" + base64.StdEncoding.EncodeToString(raw) + "</p:PlainValue>" + tail
	}
	first := func(x exchange) string { return x.root.find("ContentKeyList", "ContentKey").attr("kid") }
	return []misbehaviour{
		{"other KID", "key-service-contract", "not asked for", edit(func(doc string, x exchange) string {
			return strings.ReplaceAll(doc, first(x), "0badc0de-0000-4000-8000-000000000001")
		})},
		{"key missing", "key-service-contract", "no ContentKey", edit(func(doc string, _ exchange) string {
			head, rest, _ := strings.Cut(doc, "<c:ContentKey ")
			_, tail, _ := strings.Cut(rest, "</c:ContentKey>")
			return head + tail
		})},
		{"KID twice", "key-service-contract", "another ContentKey", edit(func(doc string, _ exchange) string {
			_, rest, _ := strings.Cut(doc, "<c:ContentKey ")
			one, _, _ := strings.Cut(rest, "</c:ContentKey>")
			return strings.Replace(doc, "</c:ContentKeyList>", "<c:ContentKey "+one+"</c:ContentKey></c:ContentKeyList>", 1)
		})},
		{"key of zeros", "key-service-contract", "weak key", edit(func(doc string, _ exchange) string { return value(doc, make([]byte, 16)) })},
		{"short key", "key-service-contract", "16 bytes", edit(func(doc string, _ exchange) string { return value(doc, make([]byte, 15)) })},
		{"one key for two assets", "weak-key", "have one key", edit(func(doc string, _ exchange) string {
			return value(withoutChecksum(doc), []byte("sixteen bytes ok"))
		})},
		{"the leaked key", "weak-key", "same value stands under KID " + movieVideo, func(w http.ResponseWriter, _ *http.Request, x exchange) {
			doc := s.document(x)
			if leaked, err := hex.DecodeString(leakedKey); err == nil && x.content == "movie" {
				// The CHECKSUM would give it away before anything else does.
				doc = value(withoutChecksum(doc), leaked)
			}
			s.reply(w, doc)
		}},
		{"other content", "key-service-contract", "content id", edit(func(doc string, x exchange) string {
			return strings.Replace(doc, `contentId="`+x.content+`"`, `contentId="another"`, 1)
		})},
		{"data of another key", "key-service-contract", "does not name the new KID", edit(func(doc string, x exchange) string {
			kid := strings.ReplaceAll(first(x), "-", "")
			return strings.Replace(doc, base64.StdEncoding.EncodeToString(s.box(widevineID, kid)),
				base64.StdEncoding.EncodeToString(s.box(widevineID, "0badc0de000040008000000000000001")), 1)
		})},
		{"CHECKSUM of another key", "key-service-contract", "CHECKSUM", edit(func(doc string, _ exchange) string {
			return value(doc, []byte("sixteen bytes ok"))
		})},
		{"data missing", "key-service-contract", "PSSH", edit(func(doc string, _ exchange) string {
			head, rest, _ := strings.Cut(doc, "<c:PSSH>")
			_, tail, _ := strings.Cut(rest, "</c:PSSH>")
			return head + tail
		})},
	}
}

// withoutChecksum gives the PlayReady data headers without a CHECKSUM.
func withoutChecksum(doc string) string {
	parts := strings.SplitAfter(doc, "<c:PSSH>")
	for i, p := range parts {
		text, rest, ok := strings.Cut(p, "</c:PSSH>")
		box, err := base64.StdEncoding.DecodeString(text)
		if i == 0 || !ok || err != nil {
			continue
		}
		if n := strings.Index(string(box), "<\x00C\x00H\x00E\x00C\x00K\x00S\x00U\x00M\x00"); n >= 0 {
			// The same length: an element that means nothing.
			named := strings.ReplaceAll(string(box), "C\x00H\x00E\x00C\x00K\x00S\x00U\x00M\x00", "X\x00H\x00E\x00C\x00K\x00S\x00U\x00M\x00")
			parts[i] = base64.StdEncoding.EncodeToString([]byte(named)) + "</c:PSSH>" + rest
		}
	}
	return strings.Join(parts, "")
}

// A key service that fails when it is asked leaves nothing behind: no rotation, no
// changed media, no key marked. When it is back, the same command does its work.
func TestKeyServiceFailsWhenAsked(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := newSPEKELab(t, ctx, services.StartMinIO(t), "ask")
	l.configure(t, "ask", "  timeout: 500ms\n")
	before := tree(t, ctx, l.media, "")
	untouched := func() {
		t.Helper()
		sameTree(t, "media", tree(t, ctx, l.media, ""), before)
		for k := range tree(t, ctx, l.control, "rotations/") {
			t.Errorf("there is %s of a rotation that did not begin", k)
		}
	}
	for _, m := range append(away(ctx), l.service.edits()...) {
		t.Log(m.name)
		l.service.behave(m.answer)
		l.refused(t, l.run(t, ctx, append(compromised, "--wait")...), 1, m.class, m.reason)
		untouched()
	}
	// Nobody listens any more.
	was := l.service.URL
	gone := httptest.NewServer(http.NotFoundHandler())
	l.service.URL = gone.URL
	gone.Close()
	l.configure(t, "ask", "")
	l.refused(t, l.run(t, ctx, append(compromised, "--wait")...), 1, "key-service-unavailable", "connection refused")
	untouched()
	for _, kid := range []string{movieVideo, sharedAudio, shortVideo} {
		says(t, l.succeed(t, ctx, l.run(t, ctx, "keys", "show", kid)), kid, "active")
	}

	// What was tried is on record.
	says(t, l.succeed(t, ctx, l.run(t, ctx, "--json", "audit", "export")), "cpix.exchange", `"failed"`)

	l.service.URL = was
	l.configure(t, "ask", "")
	l.service.behave(nil)
	worker := l.start(t, ctx, "-v", "worker", "--handover", "")
	l.succeed(t, ctx, l.run(t, ctx, append(compromised, "--wait")...))
	worker.stop(t, ctx)
	l.nowhere(t, ctx, l.secrets(), map[string]string{"the worker's output": worker.out.String()})
}

// A key service that does not acknowledge stops the rotation before any manifest
// names the new keys. When it is back the rotation goes on, with the same keys.
func TestKeyServiceFailsWhenHandedKeys(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := newSPEKELab(t, ctx, services.StartMinIO(t), "push")
	l.configure(t, "push", "  timeout: 500ms\n")
	before := tree(t, ctx, l.media, "")
	id := l.started(t, l.run(t, ctx, compromised...))
	worker := l.start(t, ctx, "-v", "worker", "--handover", "")
	kids := l.newKIDs(t, ctx, id)
	wrong := append(away(ctx), misbehaviour{"another key", "key-service-contract", "another key", func(w http.ResponseWriter, _ *http.Request, x exchange) {
		l.service.reply(w, l.service.document(x)) // keys of its own making
	}})
	for _, m := range wrong {
		t.Log(m.name)
		l.service.behave(m.answer)
		l.refused(t, l.run(t, ctx, "-v", "--json", "resume", id, "--wait"), 1, m.class, m.reason)
		after := tree(t, ctx, l.media, "")
		maps.DeleteFunc(after, func(k, _ string) bool { return catalog.TreeOf(k) == id })
		sameTree(t, m.name, after, before)
	}
	l.service.behave(nil)
	l.succeed(t, ctx, l.run(t, ctx, "-v", "resume", id, "--wait"))
	worker.stop(t, ctx)
	secrets := l.secrets()
	all := l.service.asked()
	ring := map[string]string{}
	for _, kid := range slices.Concat(slices.Collect(maps.Values(kids))...) {
		ring[kid] = l.export(t, ctx, kid)
		secrets = append(secrets, secretOf(kid, hexBytes(t, ring[kid])))
	}
	for _, x := range all {
		for kid, k := range x.keys {
			if !slices.Contains(kids[x.content], kid) || k != ring[kid] {
				t.Errorf("KID %s of %s came, or with another key at another time", kid, x.content)
			}
		}
	}
	if len(all) <= len(wrong) {
		t.Errorf("%d documents for %d attempts", len(all), len(wrong)+1)
	}
	l.succeed(t, ctx, l.run(t, ctx, "verify", "movie", "short"))
	l.nowhere(t, ctx, secrets, map[string]string{"the worker's output": worker.out.String()})
}

// CPIX has no word for HLS AES-128: such a key needs a hand-over of its own, and
// without one nothing begins. With one, each key goes its own way.
func TestKeyServiceIsNotAskedForAES128(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := newSPEKELab(t, ctx, services.StartMinIO(t), "ask")
	const uri = "https://keys.example/clip.key"
	for _, playlist := range []string{"clip/vhi/stream.m3u8", "clip/vlo/stream.m3u8"} {
		l.change(t, ctx, playlist, replace(t, "../key.bin", uri))
	}
	clip := fmt.Sprintf("00000000000040008000000000000777:%x %s\n", l.get(t, ctx, clipKey), uri)
	if err := l.media.Delete(ctx, clipKey); err != nil {
		t.Fatal(err)
	}
	more := "new_key_uri: https://keys.example/{kid}.key\n"
	l.configure(t, "ask", more)
	l.succeed(t, ctx, l.rekey(t, ctx, []byte(clip), "keys", "import", "-", "--allow-weak"))
	l.scan(t, ctx)
	before := tree(t, ctx, l.media, "")
	args := []string{"-v", "--json", "compromise", "--reason", "test", "--wait", "--kid", movieVideo, "--key-uri", uri}
	a := l.run(t, ctx, args...)
	if a.code != 2 || !strings.Contains(a.stderr, `"class":"no-handover"`) || !strings.Contains(a.stderr, "clip") || len(l.service.asked()) != 0 {
		t.Errorf("exit %d, %d requests; want 2 and none\n%s", a.code, len(l.service.asked()), a.stderr)
	}
	sameTree(t, "media", tree(t, ctx, l.media, ""), before)

	script := l.file(t, "receive.sh", []byte("#!/bin/sh\ncat > "+filepath.Join(l.dir, "received")+"\n"))
	if err := os.Chmod(script, 0o700); err != nil {
		t.Fatal(err)
	}
	l.configure(t, "ask", more+"handover:\n  command: ["+script+"]\n")
	worker := l.start(t, ctx, "worker", "--handover", "")
	a = l.run(t, ctx, args...)
	l.succeed(t, ctx, a)
	worker.stop(t, ctx)
	kids := l.newKIDs(t, ctx, l.started(t, a))
	asked := l.service.asked()
	if len(asked) != 1 || asked[0].content != "movie" || len(asked[0].keys) != 1 || asked[0].types[kids["movie"][0]] != "ALL" {
		t.Errorf("asked for %v, want the one key of movie", asked)
	}
	got, err := os.ReadFile(filepath.Join(l.dir, "received"))
	if want := kids["clip"][0] + ":" + l.export(t, ctx, kids["clip"][0]) + "\n"; err != nil || string(got) != want {
		t.Errorf("the command was handed %d bytes, want the key of clip alone (%v)", len(got), err)
	}
	l.judgeCENC(t, ctx, "movie/stream.mpd")
	l.succeed(t, ctx, l.run(t, ctx, "verify", "movie", "clip"))
}
