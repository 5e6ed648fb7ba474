package rotation_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store/storetest"
)

// pausedAtMedia drives a rotation whose pause comes at the first write to the media
// root whose key has a suffix, and a while passes.
func (l *lab) pausedAtMedia(suffix string, objects int) (id string) {
	l.t.Helper()
	id = l.start(l.engineOfParts(objects), journal.Scheduled)
	paused := false
	e := l.engineOver(&storetest.Faulty{Store: l.media, Before: func(op, k string) error {
		if op == "put" && strings.HasSuffix(k, suffix) && !paused {
			paused = true
			l.must(l.engine().Pause(l.t.Context(), id, "test"))
			l.clock.skip(2 * time.Second)
		}
		return nil
	}}, l.control)
	if _, err := e.Drive(l.t.Context(), id); !errors.Is(err, rotation.ErrPaused) || !paused {
		l.t.Fatalf("paused: %v, and the drive ends with %v", paused, err)
	}
	l.still("paused at "+suffix, id)
	return id
}

func (l *lab) engineOfParts(objects int) *rotation.Engine {
	l.t.Helper()
	e := l.engine()
	e.PartObjects = objects
	return e
}

// TestWorkerLetsGoInAPart: a long part is not worked to its end.
func TestWorkerLetsGoInAPart(t *testing.T) {
	t.Parallel()
	l := stockedLab(t)
	id := l.pausedAtMedia("clip/vhi/seg_001.ts", 64)
	done, err := l.engine().Journal().PartNumbers(t.Context(), id, "clip")
	if err != nil || len(done) != 0 {
		t.Errorf("parts %v, %v", done, err)
	}
	written := strings.Join(l.names(id), " ")
	if !strings.Contains(written, "clip/vhi/seg_001.ts") || strings.Contains(written, "clip/vhi/seg_003.ts") {
		t.Errorf("written: %s", written)
	}
	l.must(l.engine().Resume(t.Context(), id))
	_, err = l.engine().Drive(t.Context(), id)
	l.must(err)
	l.done("resumed", id)
}

// names is what a rotation wrote.
func (l *lab) names(id string) (names []string) {
	l.t.Helper()
	for k := range l.objects(l.media, "") {
		if strings.Contains(k, "/"+id+"/") {
			names = append(names, k)
		}
	}
	return names
}

// TestPausedBeforeTheFlips: a driver that is writing the new tree looks once more.
func TestPausedBeforeTheFlips(t *testing.T) {
	t.Parallel()
	l := stockedLab(t)
	id := l.pausedAtMedia("/clip/key.bin", 2)
	if l.flipped(id, "clip") {
		t.Error("clip is flipped, though the rotation was paused")
	}
	l.must(l.engine().Resume(t.Context(), id))
	_, err := l.engine().Drive(t.Context(), id)
	l.must(err)
	l.done("resumed", id)
}

// deaf drops the parts of the first generation, as workers do that saw the pause.
type deaf struct {
	inline
	asked chan struct{}
	heard func()
}

func (q deaf) Enqueue(ctx context.Context, name string, p queue.Part) error {
	if p.Generation == 1 {
		select {
		case q.asked <- struct{}{}:
		default:
		}
		return nil
	}
	q.heard()
	return q.inline.Enqueue(ctx, name, p)
}

// TestDriverOutlivesAPause: one that did not see the pause queues again at once what
// others let go in it.
func TestDriverOutlivesAPause(t *testing.T) {
	t.Parallel()
	l := stockedLab(t)
	e := l.engine()
	id := l.start(e, journal.Scheduled)
	inner, ok := e.Queue.(inline)
	if !ok {
		t.Fatalf("the queue is a %T", e.Queue)
	}
	var once sync.Once
	var resumed, heard time.Time
	q := deaf{inner, make(chan struct{}, 1), func() { once.Do(func() { heard = l.clock.read() }) }}
	e.Queue = q
	ended := make(chan error, 1)
	go func() {
		_, err := e.Drive(t.Context(), id)
		ended <- err
	}()
	<-q.asked
	// Pause and resume are one step to a driver that looks now and then.
	state, etag, err := e.Journal().State(t.Context(), id)
	l.must(err)
	state.Generation++
	resumed = l.clock.read()
	l.must(e.Journal().SetState(t.Context(), state, etag))
	l.must(<-ended)
	if waited := heard.Sub(resumed); waited > 15*time.Second {
		t.Errorf("parts were queued again after %s", waited)
	}
	l.done("outlived", id)
}
