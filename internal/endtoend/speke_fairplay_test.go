package endtoend

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/internal/services"
)

// Beside Widevine and PlayReady, playlists name the key to FairPlay by a URI that
// says no KID: the service's URI stands there afterwards, not the configuration's.
func TestKeyServiceNamesKeysToFairPlay(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := newSPEKELab(t, ctx, services.StartMinIO(t), "ask")
	l.service.fairPlay = true
	l.configure(t, "ask", "new_key_uri: skd://config.example/{kid}\n")
	l.file(t, "rekey.yaml", bytes.Replace(l.config(t), []byte(playReadyID), []byte(playReadyID+", "+fairPlayID), 1))
	playlists := map[string]string{"movie/hi.m3u8": "video", "movie/lo.m3u8": "video", "movie/audio.m3u8": "audio"}
	for name, what := range playlists {
		tag := fmt.Sprintf("#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI=\"skd://old.example/%s\",KEYFORMAT=\"com.apple.streamingkeydelivery\",KEYFORMATVERSIONS=\"1\"\n#EXTINF", what)
		l.change(t, ctx, name, func(b []byte) []byte { return bytes.Replace(b, []byte("#EXTINF"), []byte(tag), 1) })
	}
	l.scan(t, ctx)
	want := truth(t, ctx, l.player(l.engine(t)), spekeEntries...)
	worker := l.start(t, ctx, "worker", "--handover", "")
	a := l.run(t, ctx, append(compromised, "--wait")...)
	l.succeed(t, ctx, a)
	worker.stop(t, ctx)
	kids := l.newKIDs(t, ctx, l.started(t, a))
	all, named := l.reached(t, ctx, "movie/master.m3u8"), 0
	for object, b := range all {
		for _, gone := range []string{"old.example", "config.example"} {
			if bytes.Contains(b, []byte(gone)) {
				t.Errorf("%s names a key at %s", object, gone)
			}
		}
		if strings.HasSuffix(object, ".m3u8") && strings.Contains(string(b), "#EXTINF") {
			n := 0
			for _, kid := range kids["movie"] {
				n += strings.Count(string(b), skd(kid))
			}
			if n != 1 {
				t.Errorf("%s names %d of the service's keys to FairPlay, want 1\n%s", object, n, b)
			}
			named++
		}
	}
	if named != len(playlists) {
		t.Errorf("%d media playlists, want %d", named, len(playlists))
	}
	l.servicesData(t, ctx, kids)
	for _, entry := range spekeEntries {
		if err := l.player(l.engine(t)).plays(ctx, entry, want); err != nil {
			t.Error(err)
		}
	}
	l.succeed(t, ctx, l.run(t, ctx, "verify", "movie", "short"))
}
