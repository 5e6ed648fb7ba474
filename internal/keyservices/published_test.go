package keyservices

import (
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/journal"
)

// TestPublishedOutage: the service goes after the manifests flipped, before the
// asset is verified: that fails no asset.
func TestPublishedOutage(t *testing.T) {
	t.Parallel()
	ctx, dir := bounded(t), t.TempDir()
	l := newLab(t, dir, vaultTransit(t, ctx, dir))
	l.firstKEK(t, ctx)
	l.stock(t, ctx)
	l.fed(t, ctx, string(fixtures.Keys()), "keys", "import", "-")
	l.do(t, ctx, "scan")
	q := services.Redis(t)
	id := l.plan(t, ctx, q, otherVideo, otherAudio)
	l.gate.arm(func() bool { return l.status(t, ctx, id).Assets[0].State == journal.AssetPublished })
	worker := l.start(t, ctx, "--redis", q, "worker")
	driver := l.start(t, ctx, "--redis", q, "resume", id, "--wait")
	l.gate.wait(t, ctx)
	eventually(t, ctx, "the driver waits or ends", func() bool {
		s := driver.out.String()
		return driver.over() || strings.Contains(s, "the asset waits")
	})
	if s := l.status(t, ctx, id); s.Assets[0].State != journal.AssetPublished || s.Assets[0].Reason != "" {
		t.Errorf("while the service is away: asset %s: %s", s.Assets[0].State, s.Assets[0].Reason)
	}
	l.gate.open()
	if driver.over() {
		driver = l.start(t, ctx, "--redis", q, "resume", id, "--wait")
	}
	driver.wait(t, ctx)
	worker.stop(t, ctx)
	l.rotated(t, ctx, id)
}
