package keyservices

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
)

// gate stands before a service and shuts when it is told to.
type gate struct {
	mu      sync.Mutex
	when    func() bool // nil: it stays open
	shut    bool
	tripped chan struct{}
}

func newGate() *gate { return &gate{tripped: make(chan struct{})} }

// arm has the gate shut at the first decryption for which when says so.
func (g *gate) arm(when func() bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.when, g.tripped = when, make(chan struct{})
}

// closed is asked before each call.
func (g *gate) closed(decrypts bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut && decrypts && g.when != nil && g.when() {
		g.shut, g.when = true, nil
		close(g.tripped)
	}
	return g.shut
}

// wait returns once the gate has shut.
func (g *gate) wait(t *testing.T, ctx context.Context) {
	t.Helper()
	g.mu.Lock()
	tripped := g.tripped
	g.mu.Unlock()
	select {
	case <-tripped:
	case <-ctx.Done():
		t.Fatalf("the gate never shut: %v", ctx.Err())
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
}

// outage takes the service away in the middle of a rotation, and gives it back:
// parts wait meanwhile, and no asset fails.
func (l *lab) outage(t *testing.T, ctx context.Context, kids ...string) {
	t.Helper()
	q := l.redis
	if q == "" {
		q = services.Redis(t)
	}
	id := l.plan(t, ctx, q, kids...)
	var worker, driver *process
	var back func()
	if l.gate != nil {
		worker, driver, back = l.behindGate(t, ctx, q, id)
	} else {
		worker, driver, back = l.withoutFiles(t, ctx, q, id)
	}
	eventually(t, ctx, "a part waits", func() bool {
		return strings.Contains(worker.out.String(), "part will be tried again") || worker.over() || driver.over()
	})
	if s := l.unharmed(t, ctx, id); s.PartsDone >= s.Parts || driver.over() || worker.over() {
		t.Errorf("while the service is away: %d of %d parts; driver ended: %t, worker ended: %t",
			s.PartsDone, s.Parts, driver.over(), worker.over())
	}
	if l.gate != nil {
		driver = l.again(t, ctx, q, id, driver)
	} else {
		back()
	}
	if l.blind {
		worker.stop(t, ctx)
		worker = l.start(t, ctx, "--redis", q, "worker")
	}
	driver.wait(t, ctx)
	worker.stop(t, ctx)
	if strings.Contains(worker.out.String(), "failed for good") {
		t.Error("a part failed for good")
	}
	l.rotated(t, ctx, id)
}

// unharmed wants every asset of a rotation as it was.
func (l *lab) unharmed(t *testing.T, ctx context.Context, id string) rotation.Status {
	t.Helper()
	s := l.status(t, ctx, id)
	if s.State != journal.Working {
		t.Errorf("while the service is away: rotation %s", s.State)
	}
	for _, a := range s.Assets {
		if a.State != journal.AssetPending || a.Reason != "" {
			t.Errorf("while the service is away: asset %s is %s: %s", a.Asset, a.State, a.Reason)
		}
	}
	return s
}

// behindGate starts a worker and a driver; the gate shuts when the worker has the
// first of its keys, before a part is done.
func (l *lab) behindGate(t *testing.T, ctx context.Context, q, id string) (worker, driver *process, back func()) {
	t.Helper()
	n := 0
	l.gate.arm(func() bool { n++; return n == 2 })
	worker = l.start(t, ctx, "--redis", q, "worker")
	driver = l.start(t, ctx, "--redis", q, "resume", id, "--wait")
	l.gate.wait(t, ctx)
	return worker, driver, l.gate.open
}

// again gives the service back until every part is done, and takes it away where
// the driver opens keys for the new manifests. A driver that it is away for too
// long for may end, and another one goes on.
func (l *lab) again(t *testing.T, ctx context.Context, q, id string, driver *process) *process {
	t.Helper()
	l.gate.arm(func() bool { s := l.status(t, ctx, id); return s.PartsDone == s.Parts })
	l.gate.open()
	l.gate.wait(t, ctx)
	eventually(t, ctx, "the driver waits or ends", func() bool {
		return strings.Contains(driver.out.String(), "the asset waits") || driver.over()
	})
	l.unharmed(t, ctx, id)
	l.gate.open()
	if !driver.over() {
		return driver
	}
	if code := driver.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(driver.out.String(), "KMS unavailable") {
		t.Errorf("the driver ended with exit %d", code)
	}
	return l.start(t, ctx, "--redis", q, "resume", id, "--wait")
}

// withoutFiles starts a worker and a driver, and takes the service's files away
// before the worker has touched a part.
func (l *lab) withoutFiles(t *testing.T, ctx context.Context, q, id string) (worker, driver *process, back func()) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: q})
	t.Cleanup(func() { _ = c.Close() })
	worker = l.start(t, ctx, "--redis", q, "worker")
	eventually(t, ctx, "the worker serves", func() bool { return c.ZCard(ctx, "asynq:servers").Val() > 0 || worker.over() })
	signal(t, worker, syscall.SIGSTOP)
	driver = l.start(t, ctx, "--redis", q, "resume", id, "--wait")
	eventually(t, ctx, "parts are queued", func() bool { return c.LLen(ctx, "asynq:{"+queue.Urgent+"}:pending").Val() > 0 || driver.over() })
	move := func(from, to string) {
		for _, name := range l.files {
			if err := os.Rename(name+from, name+to); err != nil {
				t.Fatal(err)
			}
		}
	}
	move("", ".away")
	signal(t, worker, syscall.SIGCONT)
	return worker, driver, func() { move(".away", "") }
}

func signal(t *testing.T, p *process, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%s: %v\n%s", s, err, p.out)
	}
}

// plan starts the compromise of keys, which nobody works on yet.
func (l *lab) plan(t *testing.T, ctx context.Context, q string, kids ...string) string {
	t.Helper()
	args := []string{"--redis", q, "--json", "compromise", "--reason", "test"}
	for _, kid := range kids {
		args = append(args, "--kid", kid)
	}
	var started struct{ Rotation string }
	out := l.do(t, ctx, args...)
	if err := json.Unmarshal([]byte(out), &started); err != nil || started.Rotation == "" {
		t.Fatalf("compromise printed %q: %v", out, err)
	}
	return started.Rotation
}

// status reads the journal.
func (l *lab) status(t *testing.T, ctx context.Context, id string) rotation.Status {
	t.Helper()
	e := &rotation.Engine{Media: l.media, Control: l.control}
	s, err := e.Status(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
