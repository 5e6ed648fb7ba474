package rotation

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/store"
)

const (
	pollMin = 50 * time.Millisecond
	pollMax = 2 * time.Second
	// requeueAfter is how long a part may be silent before it is queued again.
	// The queue drops the copy where it still has the first, so this mends a
	// queue that lost its jobs and costs nothing else.
	requeueAfter = 20 * time.Second
	// renameAfter is the number of times after which a part is queued again
	// under a new name, in case the queue still holds the old name for a job
	// that nobody will run: of a worker that died, or in its archive.
	renameAfter = 3
	// lookEvery is how old the state may be that an asset is worked by.
	lookEvery = time.Second
	// awayLimit bounds the rounds in a row that find the store away.
	awayLimit = 30
)

// Drive carries a rotation to its end: it queues parts, settles assets, and
// says how it ended. Any number may try; the lease lets one at a time. It ends
// with ErrLeased where another driver is alive, with ErrPaused or ErrCancelled where
// the rotation is that or becomes it, and with ctx's error where it is stopped; the
// rotation can be driven on from where it stands.
func (e *Engine) Drive(ctx context.Context, id string) (journal.State, error) {
	state, _, err := e.Journal().State(ctx, id)
	if err != nil {
		return state, err
	}
	switch {
	case state.Phase == journal.Planning:
		return state, fmt.Errorf("drive rotation %s: %w: nothing was touched; start it again", id, ErrPlanning)
	case halted(state) != nil:
		return state, fmt.Errorf("drive rotation %s: %w", id, halted(state))
	case state.Phase.Final():
		return state, nil
	}
	ctx, release, err := e.hold(ctx, id)
	if err != nil {
		return state, err
	}
	defer release()
	d := &driver{e: e, state: state, poll: pollMin}
	if err := d.run(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return d.state, fmt.Errorf("drive rotation %s: %w", id, err)
	}
	return e.finish(ctx, id)
}

// asset is one asset in work.
type asset struct {
	plan   *journal.Plan
	queued map[int]waiting
	next   int
}

// waiting is a queued part: since when, and how often it was queued.
type waiting struct {
	since time.Time
	times int
}

type driver struct {
	e      *Engine
	state  journal.State
	active []*asset
	inWork int
	away   int
	poll   time.Duration
	// looked is when the state was read.
	looked time.Time
}

func (d *driver) run(ctx context.Context) error {
	next, stop := iter.Pull2(d.e.Journal().Plans(ctx, d.state.Rotation))
	defer stop()
	more := true
	for more || len(d.active) > 0 {
		for more && d.inWork < d.e.window() && len(d.active) < d.e.window() {
			p, err, ok := next()
			if !ok {
				more = false
				break
			}
			if err != nil {
				return err
			}
			if err := d.admit(ctx, p); err != nil {
				return err
			}
		}
		if err := d.round(ctx); err != nil {
			return err
		}
		if err := d.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// again reads the state where what is known of it is old. A rotation that was
// paused and resumed meanwhile has let parts go that the driver thinks in work:
// they are queued again.
func (d *driver) again(ctx context.Context) error {
	now := d.e.Clock()
	if now.Sub(d.looked) < lookEvery {
		return nil
	}
	state, err := d.e.goesOn(ctx, d.state.Rotation)
	if err != nil {
		return err
	}
	if state.Generation != d.state.Generation {
		for _, a := range d.active {
			for n := range a.queued {
				a.queued[n] = waiting{}
			}
		}
	}
	d.state, d.looked = state, now
	return nil
}

func (d *driver) wait(ctx context.Context) error {
	if len(d.active) == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d.poll)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		d.poll = min(d.poll*2, pollMax)
		return nil
	}
}

// admit takes an asset into work unless it is settled.
func (d *driver) admit(ctx context.Context, p *journal.Plan) error {
	o, _, err := d.e.Journal().Outcome(ctx, d.state.Rotation, p.Asset)
	if err != nil {
		return err
	}
	if o.State != journal.AssetPending && o.State != journal.AssetPublished {
		return nil
	}
	if p.Refusal != nil {
		return d.e.fail(ctx, p, p.Refusal.Object, p.Refusal.Reason)
	}
	d.active = append(d.active, &asset{plan: p, queued: map[int]waiting{}})
	return nil
}

// round looks once at every asset in work. A store that is away for a while
// leaves everything as it was.
func (d *driver) round(ctx context.Context) error {
	var left []*asset
	away := false
	for _, a := range d.active {
		settled, err := false, d.again(ctx)
		if err == nil {
			settled, err = d.look(ctx, a)
		}
		if passing(err) && d.away < awayLimit {
			away = true
			d.e.Log.Warn("store or key service is away; the asset waits", "rotation", d.state.Rotation, "asset", a.plan.Asset, "error", err)
			left = append(left, a)
			continue
		}
		if err != nil {
			return err
		}
		if !settled {
			left = append(left, a)
		}
	}
	d.active = left
	d.away++
	if !away {
		d.away = 0
	}
	return nil
}

// passing tells an error of the store or of the key service that time may mend.
func passing(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrConflict) || kms.Passes(err)
}

// look queues what is missing and settles an asset that has nothing missing.
func (d *driver) look(ctx context.Context, a *asset) (bool, error) {
	done, err := d.e.Journal().PartNumbers(ctx, d.state.Rotation, a.plan.Asset)
	if err != nil {
		return false, err
	}
	for n := range a.queued {
		if done[n] {
			delete(a.queued, n)
			d.inWork--
			d.poll = pollMin
		}
	}
	for f, err := range d.e.Journal().Failures(ctx, d.state.Rotation, a.plan.Asset) {
		if err != nil {
			return false, err
		}
		d.inWork -= len(a.queued)
		clear(a.queued)
		return true, d.e.fail(ctx, a.plan, f.Object, f.Reason)
	}
	if len(done) >= len(a.plan.Parts) {
		d.poll = pollMin
		return true, d.e.settle(ctx, &d.state, a.plan)
	}
	return false, d.fill(ctx, a, done)
}

// fill queues parts of the asset while the window has room, and those that have
// been silent for long.
func (d *driver) fill(ctx context.Context, a *asset, done map[int]bool) error {
	now := d.e.Clock()
	for n, w := range a.queued {
		if now.Sub(w.since) >= requeueAfter {
			if err := d.enqueue(ctx, a, n, now); err != nil {
				return err
			}
		}
	}
	for ; a.next < len(a.plan.Parts) && d.inWork < d.e.window(); a.next++ {
		if done[a.next] {
			continue
		}
		d.inWork++
		if err := d.enqueue(ctx, a, a.next, now); err != nil {
			return err
		}
	}
	return nil
}

// enqueue puts up with a queue that is away: the part stays in the window and
// is queued again later.
func (d *driver) enqueue(ctx context.Context, a *asset, n int, now time.Time) error {
	w := waiting{since: now, times: a.queued[n].times + 1}
	a.queued[n] = w
	err := d.e.Queue.Enqueue(ctx, queueName(d.state.Kind), queue.Part{
		Rotation: d.state.Rotation, Asset: a.plan.Asset, Part: n,
		Generation: d.state.Generation, Again: renamed(w.times),
	})
	if errors.Is(err, queue.ErrUnavailable) {
		a.queued[n] = waiting{since: now.Add(time.Second - requeueAfter), times: w.times - 1}
		d.e.Log.Warn("queue is away; the part waits", "rotation", d.state.Rotation, "asset", a.plan.Asset, "part", n, "error", err)
		return nil
	}
	return err
}

// renamed is the number of new names that a part queued so often has had: one
// after a minute or so, then ever more rarely, four at the most.
func renamed(times int) int {
	n := 0
	for t := times - 1; t >= renameAfter && n < 4; t /= renameAfter {
		n++
	}
	return n
}
