package endtoend

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
)

// spellings of a KID: the bytes in both orders, and every text form in ASCII
// and in UTF-16LE, which PlayReady headers are in.
func spellings(k key.KID) map[string][]byte {
	g := k.GUID()
	out := map[string][]byte{"raw": k[:], "GUID": g[:]}
	for name, s := range map[string]string{
		"hex": k.String(), "HEX": strings.ToUpper(k.String()),
		"uuid": k.UUID(), "UUID": strings.ToUpper(k.UUID()),
		"base64": base64.StdEncoding.EncodeToString(k[:]), "base64 GUID": base64.StdEncoding.EncodeToString(g[:]),
	} {
		out[name] = []byte(s)
		var wide []byte
		for _, u := range utf16.Encode([]rune(s)) {
			wide = append(wide, byte(u), byte(u>>8))
		}
		out[name+" in UTF-16"] = wide
	}
	return out
}

var base64Run = regexp.MustCompile(`[A-Za-z0-9+/]{20,}={0,2}`)

// namesOf lists where an object names a KID, also inside its base64.
func namesOf(object string, b []byte, k key.KID) []string {
	layers := [][]byte{b}
	for _, run := range base64Run.FindAll(b, -1) {
		if inner, err := base64.StdEncoding.DecodeString(string(run)); err == nil {
			layers = append(layers, inner)
		}
	}
	var found []string
	for depth, layer := range layers {
		for name, s := range spellings(k) {
			if bytes.Contains(layer, s) {
				found = append(found, fmt.Sprintf("%s names %s (%s, layer %d)", object, k, name, depth))
			}
		}
	}
	return found
}

// namesIn lists where anything that an asset's entry manifests lead to names k.
func (l *lab) namesIn(t *testing.T, ctx context.Context, entries []string, k key.KID) []string {
	t.Helper()
	a, err := catalog.Walk(ctx, l.media, entries[0], entries, catalog.Options{})
	if err != nil || len(a.Refusals) > 0 {
		t.Fatalf("walk %v: %v %v", entries, err, a.Refusals)
	}
	var found []string
	look := func(o string) { found = append(found, namesOf(o, l.get(t, ctx, o), k)...) }
	for _, m := range a.Manifests {
		look(m.Key)
	}
	for _, track := range a.Tracks {
		if track.Init != nil {
			look(track.Init.Key)
		}
		for _, s := range track.Segments {
			look(s.Key)
		}
	}
	return found
}

func TestInvariant2NewKeyNewKIDNewURI(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := stocked(t, ctx)
	e := l.engine(t)
	l.work(t, ctx, e)
	movie := []string{"movie/master.m3u8", "movie/stream.mpd"}
	old := kid(t, movieVideo)
	// Two inits, three playlists' tags and the MPD name it, in every spelling
	// the fixtures have; a search that finds none of them finds nothing.
	if n := len(l.namesIn(t, ctx, movie, old)); n < 10 {
		t.Fatalf("the search finds the old KID %d times in the old asset", n)
	}
	oldURI := l.get(t, ctx, clipKey)
	p := plan(t, ctx, e, old, kid(t, clipKey))
	drive(t, ctx, e, p.Rotation, journal.Done)

	for _, f := range l.namesIn(t, ctx, movie, old) {
		t.Error(f)
	}
	for _, pl := range p.Plans {
		for _, c := range pl.Keys {
			was, err := e.Ring.Unwrap(ctx, c.OldKID, keyring.Deliver, "")
			if err != nil {
				t.Fatal(err)
			}
			now, err := e.Ring.Unwrap(ctx, c.NewKID, keyring.Deliver, "")
			if err != nil {
				t.Fatal(err)
			}
			if c.OldKID == c.NewKID || was.Equal(now) {
				t.Errorf("asset %s: KID %s became %s, or its key stayed", pl.Asset, c.OldKID, c.NewKID)
			}
		}
	}
	clip, err := catalog.Walk(ctx, l.media, "clip", []string{"clip/master.m3u8"}, catalog.Options{})
	if err != nil || len(clip.Keys) != 1 {
		t.Fatalf("clip leads to keys %v, error %v", clip.Keys, err)
	}
	uri := clip.Keys[0].Key
	if uri == clipKey || bytes.Equal(l.get(t, ctx, uri), oldURI) {
		t.Errorf("the clip's key is at %s, and old: %v", uri, bytes.Equal(l.get(t, ctx, uri), oldURI))
	}
	if !bytes.Equal(l.get(t, ctx, clipKey), oldURI) {
		t.Error("the old key object was changed: who holds the old playlist is locked out")
	}
}
