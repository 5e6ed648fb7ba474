package players_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	frameRate     = 25
	segmentFrames = 50
	segments      = 4
	patience      = 40 * time.Second
)

// playCase is an asset and a player that knows its format.
type playCase struct {
	player, asset, entry string
	clearKey             bool
}

func cases() []playCase {
	var out []playCase
	for player, master := range map[string]string{"hls": "clearkey-master.m3u8", "shaka": "master.m3u8"} {
		out = append(out,
			playCase{player, "aes-ts", "stream.m3u8", false},
			playCase{player, "aes-fmp4", "stream.m3u8", false},
			playCase{player, "cenc", master, true},
			playCase{player, "cbcs", master, true})
	}
	return append(out,
		playCase{"hls", "saes-ts", "master.m3u8", false},
		playCase{"shaka", "cenc", "stream.mpd", true},
		playCase{"shaka", "cbcs", "stream.mpd", true},
		playCase{"dash", "cenc", "stream.mpd", true},
		playCase{"dash", "cbcs", "stream.mpd", true})
}

func (c playCase) name() string { return c.player + "/" + c.asset + "/" + c.entry }

// keys are what a ClearKey player is given: the new KID with one of the keys.
func (c playCase) keys(r *rotated, of map[string]string) map[string]string {
	if !c.clearKey {
		return nil
	}
	return map[string]string{r.kids[c.asset]: of[c.asset]}
}

// TestPlayersPlayRotatedAssets seeks into every segment of every rotated asset
// and reads the frame that is shown.
func TestPlayersPlayRotatedAssets(t *testing.T) {
	r := rotate(t)
	s := serve(t, r)
	b := openBrowser(t)
	t.Run("reader", func(t *testing.T) {
		w := b.open(t, s, "none", s.URL+"/new/clear/clip.mp4", nil)
		w.seekEverywhere(t)
	})
	for _, c := range cases() {
		t.Run(c.name(), func(t *testing.T) {
			s.take()
			w := b.open(t, s, c.player, s.URL+"/new/"+c.asset+"/"+c.entry, c.keys(r, r.fresh))
			w.seekEverywhere(t)
			onlyNew(t, s.take())
		})
	}
	for _, c := range cases() {
		t.Run("old key/"+c.name(), func(t *testing.T) {
			s.take()
			w := b.open(t, s, c.player, s.URL+"/old/"+c.asset+"/"+c.entry, c.keys(r, r.old))
			w.showsNothing(t, s)
		})
	}
}

// onlyNew checks that the manifests led to the new tree: no segment, init section
// or key beside it was asked for.
func onlyNew(t *testing.T, requests []string) {
	t.Helper()
	n := 0
	for _, q := range requests {
		switch path.Ext(q) {
		case ".ts", ".m4s", ".mp4", ".bin":
			n++
			if !strings.Contains(q, "/_rekey/") {
				t.Errorf("%s was asked for", q)
			}
		}
	}
	if n < segments {
		t.Errorf("%d media requests, want at least %d: %q", n, segments, requests)
	}
}

// seekEverywhere seeks into each segment, not in their order.
func (w *tab) seekEverywhere(t *testing.T) {
	t.Helper()
	if !until(patience, func() bool { return w.state(t).Ready >= 2 }) {
		t.Fatalf("no picture: %+v", w.state(t))
	}
	for _, segment := range []int{0, 2, 1, 3} {
		want := segmentFrames*segment + 27
		got, err := 0, error(nil)
		tries := 0
		if !until(patience, func() bool {
			// A headless browser may not paint a paused video after a seek: now and
			// then it is asked again.
			if tries%20 == 0 {
				w.seek(t, want, 0.5-0.1*float64(tries/20%2))
			}
			tries++
			got, err = w.counter(t)
			return err == nil && got >= want-1 && got <= want+1
		}) {
			t.Fatalf("segment %d: frame %d is shown (%v), want %d: %+v", segment, got, err, want, w.state(t))
		}
	}
}

// seek goes into a frame.
func (w *tab) seek(t *testing.T, frame int, within float64) {
	t.Helper()
	w.eval(t, fmt.Sprintf("seek(%.4f)", (float64(frame)+within)/frameRate))
}

// showsNothing waits until a player that has the old key gives up: it must have
// had the media, and must not have shown a frame of it, whichever.
func (w *tab) showsNothing(t *testing.T, s *site) {
	t.Helper()
	w.seek(t, segmentFrames/2, 0.5)
	shown := func() bool {
		_, err := w.counter(t)
		return err == nil
	}
	failed := until(patience, func() bool {
		if shown() {
			t.Fatalf("the old key shows the picture: %+v", w.state(t))
		}
		return w.state(t).Failed
	})
	requests := s.take()
	if !failed {
		t.Errorf("the player neither shows a frame nor gives up: %+v", w.state(t))
	}
	if !slices.ContainsFunc(requests, isSegment) {
		t.Errorf("the player gave up before it asked for a segment: %q: %+v", requests, w.state(t))
	}
	if shown() {
		t.Errorf("the old key shows the picture: %+v", w.state(t))
	}
}

func isSegment(request string) bool {
	return slices.Contains([]string{".ts", ".m4s"}, path.Ext(request))
}
