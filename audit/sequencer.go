package audit

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

var (
	// ErrLeased: another sequencer is at work; there is nothing to do here.
	ErrLeased = errors.New("another sequencer is at work")
	// ErrRolledBack: the store shows an older log than it did before.
	ErrRolledBack = errors.New("audit log was set back")
	// ErrShip: a checkpoint could not be sent elsewhere. It stands all the same,
	// and is sent again by the next pass.
	ErrShip = errors.New("checkpoint was not shipped")
)

// SequencerOptions say what is sequenced and how.
type SequencerOptions struct {
	// Store is the control store.
	Store store.Store
	// Signer signs checkpoints. Only the process that sequences has it.
	Signer *Signer
	// Clock tells the time. Zero: time.Now.
	Clock func() time.Time
	// Origin is the first line of checkpoints. Zero: the signer's name.
	Origin string
	// Owner names this process in the lease. Zero: a random name.
	Owner string
	// Lease is how long a sequencer that says nothing is thought alive. Zero: 1m.
	Lease time.Duration
	// Idle is how long a stream stays silent before it is closed; its writer then
	// begins another. Zero: 15m.
	Idle time.Duration
	// Shippers send checkpoints elsewhere. Zero: none.
	Shippers []Shipper
}

// Sequencer puts the streams' records in one order, in a signed tree. Any number
// may try: a lease lets one at a time, and the conditional write of the state
// keeps them from ever making two trees. It is safe for concurrent use.
type Sequencer struct {
	o SequencerOptions

	mu        sync.Mutex
	seen      Checkpoint // the newest that this process has seen
	published int64      // the size of the newest that is known to be published
	shipped   []int64    // by shipper: the size sent last
}

// NewSequencer returns a sequencer. Nothing is read or written before Fold.
func NewSequencer(o SequencerOptions) *Sequencer {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Owner == "" {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails: it crashes the program instead
		o.Owner = hex.EncodeToString(b[:])
	}
	o.Origin = cmp.Or(o.Origin, o.Signer.Name())
	o.Lease = cmp.Or(o.Lease, time.Minute)
	o.Idle = cmp.Or(o.Idle, 15*time.Minute)
	return &Sequencer{o: o, shipped: make([]int64, len(o.Shippers))}
}

// Folded is what a pass has done.
type Folded struct {
	Added      int64      // entries, closings of streams among them
	Checkpoint Checkpoint // the newest; its Size is 0 before the first
	More       bool       // the pass was long enough; there may be more
}

// passBatches bounds a pass, so that busy writers don't put off shipping.
const passBatches = 64

// held is the state under a lease: the ETag is what the next write depends on.
type held struct {
	st   *state
	etag string
}

// Fold takes up everything that stands in the streams, signs it and ships the
// checkpoint. It costs what is new and a look at each stream that was not silent
// for Idle, whatever the size of the log; once a day, a listing of all streams.
//
// It may stop or fail anywhere: what is done stays, the next Fold, of any
// sequencer, goes on from there. Errors: [ErrLeased]; [ErrShip]; of class
// [ErrCorrupt] for streams that were tampered with or have a gap: they stop at
// that place, and the others do not; [ErrCorrupt] and [ErrRolledBack] for the
// tree: then nothing is signed; else the store's.
func (q *Sequencer) Fold(ctx context.Context) (Folded, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var done Folded
	h, err := q.take(ctx)
	if err != nil {
		return done, fmt.Errorf("fold audit log: %w", err)
	}
	problems, err := q.fold(ctx, h, &done)
	if err == nil {
		err = q.publish(ctx)
	}
	done.Checkpoint = q.seen
	if err != nil && q.lost(ctx, h) {
		err = fmt.Errorf("%w: it took over: %w", ErrLeased, err)
	}
	if err == nil {
		err = q.ship(ctx)
	}
	if err = errors.Join(append(problems, err)...); err != nil {
		return done, fmt.Errorf("fold audit log: %w", err)
	}
	return done, nil
}

// Release gives up the lease where this sequencer has it, so that another need
// not wait for its end.
func (q *Sequencer) Release(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	st, etag, err := loadState(ctx, q.o.Store)
	if err == nil && etag != "" && st.Lease.Owner == q.o.Owner {
		st.Lease = lease{}
		_, err = st.save(ctx, q.o.Store, etag)
	}
	if err != nil && !errors.Is(err, store.ErrPrecondition) {
		return fmt.Errorf("give up the lease of the audit log: %w", err)
	}
	return nil
}

// releaseTime is how long Run takes to give up the lease when it ends.
const releaseTime = 5 * time.Second

// Run folds at once and then every so often until ctx ends, whose error it
// returns; then it gives up the lease. Errors of a pass go to report; ErrLeased
// does not.
func (q *Sequencer) Run(ctx context.Context, every time.Duration, report func(error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer cancel()
		if err := q.Release(ctx); err != nil {
			report(err)
		}
	}()
	for {
		if _, err := q.Fold(ctx); err != nil && !errors.Is(err, ErrLeased) && ctx.Err() == nil {
			report(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// take loads the state and the lease with it.
func (q *Sequencer) take(ctx context.Context) (*held, error) {
	// In this order: what is published after the state was read may be ahead of it.
	if err := q.recall(ctx); err != nil {
		return nil, err
	}
	st, etag, err := loadState(ctx, q.o.Store)
	if err != nil {
		return nil, err
	}
	now := q.o.Clock()
	l := st.Lease
	if l.Owner != q.o.Owner && l.Until.After(now) {
		return nil, fmt.Errorf("%w: %s until %s", ErrLeased, l.Owner, l.Until.Format(time.RFC3339))
	}
	if err := q.look(st); err != nil {
		return nil, err
	}
	h := &held{st: st, etag: etag}
	if l.Owner != q.o.Owner || l.Until.Sub(now) < q.o.Lease/2 {
		err = q.save(ctx, h)
	}
	if errors.Is(err, store.ErrPrecondition) {
		return nil, fmt.Errorf("%w: %w", ErrLeased, err)
	}
	return h, err
}

// recall takes the published checkpoint for what a process that began anew has
// seen.
func (q *Sequencer) recall(ctx context.Context) error {
	if q.seen.Signed != nil {
		return nil
	}
	b, _, err := store.ReadAll(ctx, q.o.Store, latestName, "", maxCheckpoint, nil)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if c, err := OpenCheckpoint(b, q.o.Signer.Verifier()); err == nil {
		q.seen = c
	}
	return nil
}

// look checks the state's checkpoint: signed by this key, and not older than one
// seen before.
func (q *Sequencer) look(st *state) error {
	var c Checkpoint
	if st.Checkpoint != "" {
		var err error
		if c, err = OpenCheckpoint([]byte(st.Checkpoint), q.o.Signer.Verifier()); err != nil {
			return fmt.Errorf("read %s: %w", stateName, err)
		}
	}
	if c.Size < q.seen.Size || c.Size == q.seen.Size && c.Size > 0 && c.Root != q.seen.Root {
		return fmt.Errorf("%w: %s is at %d records, the log was at %d", ErrRolledBack, stateName, c.Size, q.seen.Size)
	}
	q.seen = c
	return nil
}

// save writes the state, renewing the lease.
func (q *Sequencer) save(ctx context.Context, h *held) error {
	h.st.Lease = lease{Owner: q.o.Owner, Until: q.o.Clock().Add(q.o.Lease).UTC()}
	etag, err := h.st.save(ctx, q.o.Store, h.etag)
	if err != nil {
		return err
	}
	h.etag = etag
	if h.st.Checkpoint == "" {
		return nil
	}
	q.seen, err = unsignedCheckpoint([]byte(h.st.Checkpoint))
	return err
}

// lost reports whether somebody else has written the state since.
func (q *Sequencer) lost(ctx context.Context, h *held) bool {
	st, etag, err := loadState(ctx, q.o.Store)
	return err == nil && etag != h.etag && st.Lease.Owner != q.o.Owner
}

// fold is the pass itself, under the lease.
func (q *Sequencer) fold(ctx context.Context, h *held, done *Folded) (problems []error, err error) {
	c := newCollector(q.o.Store, h.st, maxOpenStreams)
	for batches := 0; ; batches++ {
		if n := len(h.st.Pending); n > 0 {
			if err := q.finish(ctx, h); err != nil {
				return problems, err
			}
			done.Added += int64(n)
		}
		if done.More = batches == passBatches; done.More {
			return problems, nil
		}
		now := q.o.Clock()
		batch, retired, err := q.gather(ctx, c, now, &problems)
		if err != nil {
			return problems, err
		}
		if len(batch) > 0 {
			for _, f := range batch {
				h.st.Pending = append(h.st.Pending, f.body)
			}
			q.remember(h, c)
			if err := q.save(ctx, h); err != nil {
				return problems, err
			}
			continue
		}
		closing, bad, err := q.closeIdle(ctx, c, now)
		problems = append(problems, bad...)
		if err != nil {
			return problems, err
		}
		if closing == 0 && (retired == 0 || !c.partial) {
			return problems, q.rest(ctx, h, c, retired)
		}
	}
}

// gather reads what is new.
func (q *Sequencer) gather(ctx context.Context, c *collector, now time.Time, problems *[]error) ([]found, int, error) {
	retired, err := q.retire(ctx, c)
	if err != nil {
		return nil, 0, err
	}
	if err := c.discover(ctx, now); err != nil {
		return nil, 0, err
	}
	batch, bad, err := c.collect(ctx, now, nil)
	*problems = append(*problems, bad...)
	return batch, retired, err
}

func (q *Sequencer) remember(h *held, c *collector) {
	h.st.Streams, h.st.Listed, h.st.Swept = c.cursors(), c.listed.UTC(), c.swept.UTC()
}

// rest keeps what a pass without news has learned, where losing it would cost.
func (q *Sequencer) rest(ctx context.Context, h *held, c *collector, retired int) error {
	if retired == 0 && c.swept.Equal(h.st.Swept) && c.listed.Sub(h.st.Listed) < lookBack/2 {
		return nil
	}
	q.remember(h, c)
	return q.save(ctx, h)
}

// retire marks streams whose end is in the tree and forgets them. The mark comes
// first: without it a stream would be taken for a new one.
func (q *Sequencer) retire(ctx context.Context, c *collector) (int, error) {
	var closed []cursor
	for _, cur := range c.streams {
		if cur.Closed {
			closed = append(closed, *cur)
		}
	}
	err := inParallel(ctx, len(closed), readWidth, func(ctx context.Context, i int) error {
		return putSame(ctx, q.o.Store, closedName(closed[i].Stream), closedBody(closed[i].Stream, closed[i].Next), "text/plain; charset=utf-8")
	})
	if err != nil {
		return 0, err
	}
	for _, cur := range closed {
		delete(c.streams, cur.Stream)
	}
	return len(closed), nil
}

// closeIdle ends the streams that have been silent, by taking their next number.
// A writer may be faster; then the stream is not silent.
func (q *Sequencer) closeIdle(ctx context.Context, c *collector, now time.Time) (int, []error, error) {
	var idle []*cursor
	for _, cur := range c.streams {
		if !cur.Closed && !cur.broken && cur.Next > 0 && now.Sub(cur.Seen) > q.o.Idle {
			idle = append(idle, cur)
		}
	}
	var mu sync.Mutex
	var problems []error
	err := inParallel(ctx, len(idle), readWidth, func(ctx context.Context, i int) error {
		cur := idle[i]
		err := c.ends(ctx, cur)
		if errors.Is(err, ErrCorrupt) {
			mu.Lock()
			defer mu.Unlock()
			cur.broken = true
			problems = append(problems, err)
			return nil
		}
		if err != nil {
			return err
		}
		body, err := entry{Stream: cur.Stream, Seq: cur.Next, Prev: cur.Prev, Closed: true}.encode()
		if err != nil {
			return fmt.Errorf("close audit stream %s: %w", cur.Stream, err)
		}
		_, err = store.PutOnce(ctx, q.o.Store, objectName(cur.Stream, cur.Next), body, store.Attributes{ContentType: "application/json"})
		if err != nil && !errors.Is(err, store.ErrPrecondition) {
			return fmt.Errorf("close audit stream %s: %w", cur.Stream, err)
		}
		return nil
	})
	return len(idle) - len(problems), problems, err
}
