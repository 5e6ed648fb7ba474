package players_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// browser is one Chromium for all tests of the package, a tab each.
type browser struct{ ctx context.Context }

func openBrowser(t *testing.T) *browser {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing: apt-get install chromium, or make tools")
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromium), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(640, 480),
		chromedp.WSURLReadTimeout(2 * time.Minute),
	}
	for flag, value := range map[string]any{
		"disable-quic": true, "disable-background-networking": true, "disable-component-update": true,
		"disable-sync": true, "autoplay-policy": "no-user-gesture-required", "mute-audio": true,
	} {
		options = append(options, chromedp.Flag(flag, value))
	}
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, closeBrowser := chromedp.NewContext(ctx)
	t.Cleanup(closeBrowser)
	if _, err := chromedp.Run(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return &browser{ctx}
}

// tab is one page with a player in it.
type tab struct{ ctx context.Context }

// state is what the page says of its video.
type state struct {
	Ready    int      `json:"ready"`
	Time     float64  `json:"time"`
	Seeking  bool     `json:"seeking"`
	Duration float64  `json:"duration"`
	Failed   bool     `json:"failed"`
	Said     []string `json:"said"`
}

// open starts a player: keys are by KID, for ClearKey.
func (b *browser) open(t *testing.T, s *site, player, url string, keys map[string]string) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx)
	t.Cleanup(closeTab)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	w := &tab{ctx}
	if keys == nil {
		keys = map[string]string{}
	}
	k, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(ctx, chromedp.EmulateViewport(512, 288)); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(ctx, chromedp.Navigate(s.URL+"/page")); err != nil {
		t.Fatal(err)
	}
	w.eval(t, fmt.Sprintf("play(%q, %q, %s)", player, url, k))
	return w
}

// eval runs a statement in the page.
func (w *tab) eval(t *testing.T, js string) {
	t.Helper()
	if _, err := chromedp.Run(w.ctx, chromedp.Evaluate[bool](js+"; true")); err != nil {
		t.Fatalf("%s: %v", js, err)
	}
}

func (w *tab) state(t *testing.T) state {
	t.Helper()
	text, err := chromedp.Run(w.ctx, chromedp.Evaluate[string]("JSON.stringify(state())"))
	if err != nil {
		t.Fatal(err)
	}
	var s state
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// counter is the frame that the page shows.
func (w *tab) counter(t *testing.T) (int, error) {
	t.Helper()
	shot, err := chromedp.Run(w.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	return readCounter(shot)
}

// until asks again and again, at most for as long; it reports whether done ever
// said yes.
func until(limit time.Duration, done func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		if done() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
