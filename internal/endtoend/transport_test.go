package endtoend

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/internal/judge"
	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/journal"
)

func (l *lab) redisClient(t *testing.T) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: l.redis})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// flush empties Redis, which must have held something.
func (l *lab) flush(t *testing.T, ctx context.Context) {
	t.Helper()
	c := l.redisClient(t)
	n, err := c.DBSize(ctx).Result()
	if err != nil || n == 0 {
		t.Fatalf("Redis held %d keys, error %v: nothing to lose", n, err)
	}
	if err := c.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
}

// whole wants every asset verified and every planned part on record.
func (l *lab) whole(t *testing.T, ctx context.Context, id string) {
	t.Helper()
	s := l.status(t, ctx, id)
	if s.State != journal.Done || s.Parts == 0 || s.PartsDone != s.Parts {
		t.Errorf("rotation is %s with %d of %d parts", s.State, s.PartsDone, s.Parts)
	}
	for _, a := range s.Assets {
		if a.State != journal.AssetVerified {
			t.Errorf("%s is %s: %s: %s", a.Asset, a.State, a.Object, a.Reason)
		}
	}
}

func TestInvariant5FlushAllThenResume(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := stocked(t, ctx)
	p := l.player(l.engine(t))
	want := truth(t, ctx, p, entryManifests...)
	id := l.begin(t, ctx, "--kid", sharedAudio, "--key-uri", clipKey)
	out := l.succeed(t, ctx, l.rekey(t, ctx, nil, "--json", "resume", id))
	if parts := l.status(t, ctx, id).Parts; out != fmt.Sprintf("{\"queued\":%d,\"rotation\":%q}\n", parts, id) {
		t.Errorf("resume printed %q of %d parts", out, parts)
	}
	l.flush(t, ctx)
	w := l.start(t, ctx, "worker")
	l.succeed(t, ctx, l.rekey(t, ctx, nil, "resume", id, "--wait"))
	w.stop(t, ctx)
	l.whole(t, ctx, id)
	for _, entry := range entryManifests {
		if err := p.plays(ctx, entry, want); err != nil {
			t.Error(err)
		}
	}
}

// A driver that runs while the queue loses everything queues it again by
// itself: nobody resumes here.
func TestInvariant5FlushAllUnderADriver(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := stocked(t, ctx)
	id := l.begin(t, ctx, "--kid", movieVideo)
	driver := l.start(t, ctx, "resume", id, "--wait")
	c := l.redisClient(t)
	eventually(t, ctx, "the driver queues parts", func() bool {
		n, err := c.LLen(ctx, "asynq:{compromise}:pending").Result()
		return err == nil && n == int64(3)
	})
	l.flush(t, ctx)
	w := l.start(t, ctx, "worker")
	if code := driver.wait(t, ctx); code != 0 {
		t.Errorf("the driver ended with exit %d\n%s", code, driver.out)
	}
	w.stop(t, ctx)
	l.whole(t, ctx, id)
}

// longClip puts an AES-128 asset of n segments into the library: one track, so
// that one part takes a worker a while.
func (l *lab) longClip(t *testing.T, ctx context.Context, n int) {
	t.Helper()
	get := func(name string) []byte {
		b, err := fs.ReadFile(fixtures.Library(), name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	head, _, _ := strings.Cut(string(get("clip/vhi/stream.m3u8")), "#EXTINF")
	var list bytes.Buffer
	list.WriteString(strings.Replace(head, "../key.bin", "key.bin", 1))
	for i := range n {
		// The IV is explicit, so that any segment may stand anywhere.
		l.put(t, ctx, fmt.Sprintf("long/%03d.ts", i), get(fmt.Sprintf("clip/vhi/seg_%03d.ts", i%4)))
		fmt.Fprintf(&list, "#EXTINF:1.000000,\n%03d.ts\n", i)
	}
	list.WriteString("#EXT-X-ENDLIST\n")
	l.put(t, ctx, "long/key.bin", get(clipKey))
	l.put(t, ctx, "long/stream.m3u8", list.Bytes())
}

func TestInvariant5WorkerKilledInAPart(t *testing.T) {
	t.Parallel()
	minio := services.StartMinIO(t)
	t.Run("resumed", func(t *testing.T) { t.Parallel(); killInAPart(t, minio, false) })
	// The driver lives on and nobody resumes: it must not wait for ever for a
	// part that Redis still thinks in work.
	t.Run("driven on", func(t *testing.T) { t.Parallel(); killInAPart(t, minio, true) })
}

func killInAPart(t *testing.T, minio services.MinIO, driven bool) {
	ctx := bounded(t)
	l := labOn(t, minio)
	const segments = 160
	l.longClip(t, ctx, segments)
	l.scan(t, ctx)
	e := l.engine(t)
	e.PartObjects = segments
	p := plan(t, ctx, e, kid(t, "long/key.bin"))
	if len(p.Plans) != 1 || len(p.Plans[0].Parts) != 1 {
		t.Fatalf("plan: %+v", p)
	}
	unharmed := l.clone(t, ctx)

	first := l.start(t, ctx, "worker", "--concurrency", "1")
	var driver *process
	if driven {
		driver = l.start(t, ctx, "resume", p.Rotation, "--wait")
	} else {
		l.succeed(t, ctx, l.rekey(t, ctx, nil, "resume", p.Rotation))
	}
	under := "long/_rekey/" + p.Rotation + "/"
	count := func() (n int) {
		for _, err := range l.media.List(ctx, under) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	eventually(t, ctx, "the worker writes", func() bool { return count() > 2 })
	first.kill(t)
	done, err := e.Journal().HasPart(ctx, p.Rotation, "long", 0)
	if n := count(); done || err != nil || n >= segments {
		t.Fatalf("the worker was not killed in the part: %d objects, record %v, error %v", n, done, err)
	}

	second := l.start(t, ctx, "worker")
	if !driven {
		driver = l.start(t, ctx, "resume", p.Rotation, "--wait")
	}
	if code := driver.wait(t, ctx); code != 0 {
		t.Errorf("the driver ended with exit %d\n%s", code, driver.out)
	}
	second.stop(t, ctx)
	l.whole(t, ctx, p.Rotation)

	third := unharmed.start(t, ctx, "worker")
	unharmed.succeed(t, ctx, unharmed.rekey(t, ctx, nil, "resume", p.Rotation, "--wait"))
	third.stop(t, ctx)
	sameTree(t, "killed and not killed", tree(t, ctx, l.media, ""), tree(t, ctx, unharmed.media, ""))

	dir := l.download(t, ctx, "long/")
	clear := fixtures.ClearSHA256()
	for i := range 4 {
		name := fmt.Sprintf("%s%03d.ts", under, i)
		got := judge.AES128(t, dir+"/"+name, fmt.Sprintf("%x", l.get(t, ctx, under+"key.bin")), clipIV)
		if want := clear[fmt.Sprintf("clip/vhi/seg_%03d.ts", i)]; got != want {
			t.Errorf("OpenSSL: %s is not its clear media", name)
		}
	}
}
