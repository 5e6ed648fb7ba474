package watch

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/mod/sumdb/note"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/store"
)

// Lister lists key records, as keyring.Ring does.
type Lister interface {
	// List yields every record. One that cannot be read is yielded as an error of
	// class keyring.ErrCorrupt and the walk goes on; any other error is of the
	// store or the context.
	List(ctx context.Context) iter.Seq2[keyring.Record, error]
}

// Options say what is watched.
type Options struct {
	// Control is the control store, whose audit log is followed. Nil: nothing is
	// read, and only what the process itself reports is counted (a worker).
	Control store.Store
	// Ring is where key records are listed. Nil: keys are not counted.
	Ring Lister
	// Clock tells the time. Zero: time.Now.
	Clock func() time.Time
	// Log hears of what the watcher could not do. Zero: nobody does.
	Log *slog.Logger
	// Registry takes the metrics. Zero: a new one.
	Registry *prometheus.Registry
	// Webhook gets the events. Nil: nobody does.
	Webhook *Webhook
	// Verifier checks the published checkpoint: one that it has not signed counts
	// as not written. Nil: signatures are not looked at.
	Verifier note.Verifier

	// Interval is the pause between two looks. Zero: 5s.
	Interval time.Duration
	// KeysEvery is how often all key records are listed. Zero: 10m.
	KeysEvery time.Duration
	// NearExpiry is how long before its expiry a key is near it. Zero: 14 days.
	NearExpiry time.Duration
	// CheckpointWithin is how long a record may wait for a checkpoint. Zero: 15m.
	CheckpointWithin time.Duration
	// BurstCount refusals within BurstWindow are a burst; so are as many errors of
	// a key service that pass with time. Zero: 20 within 5m.
	BurstCount  int
	BurstWindow time.Duration
	// Learn is how long after the first look every origin is taken for known.
	// Zero: 1h.
	Learn time.Duration
	// Remember is how long an origin that was not seen again stays known. Zero: 30
	// days.
	Remember time.Duration
	// Place is where a record comes from, for telling new origins: hosts whose
	// names change with every start need a place that does not. Zero: the network
	// address (of IPv6 its first 64 bits), or the host where there is none.
	Place func(audit.Record) string
}

func (o *Options) fill() {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Place == nil {
		o.Place = place
	}
	o.Interval = cmp.Or(o.Interval, 5*time.Second)
	o.KeysEvery = cmp.Or(o.KeysEvery, 10*time.Minute)
	o.NearExpiry = cmp.Or(o.NearExpiry, 14*24*time.Hour)
	o.CheckpointWithin = cmp.Or(o.CheckpointWithin, 15*time.Minute)
	o.BurstCount = cmp.Or(o.BurstCount, 20)
	o.BurstWindow = cmp.Or(o.BurstWindow, 5*time.Minute)
	o.Learn = cmp.Or(o.Learn, time.Hour)
	o.Remember = cmp.Or(o.Remember, 30*24*time.Hour)
}

// Watcher follows a control store. Run is called once; all else is safe for
// concurrent use.
type Watcher struct {
	o    Options
	m    *metrics
	hook *hook // nil: none

	// The rest but checkpoint, passing and refusing is Run's alone.
	reading reading
	origins *origins
	keysAt  time.Time // last listed
	said    map[string]said

	checkpoint checkpoints
	passing    burst // errors of key services that pass with time
	refused    burst
}

// New returns a watcher; nothing is read before Run. Errors: ErrWebhook, or a
// registry that has its metrics already.
func New(o Options) (*Watcher, error) {
	o.fill()
	m, err := newMetrics(o.Registry)
	if err != nil {
		return nil, fmt.Errorf("set up metrics: %w", err)
	}
	w := &Watcher{
		o: o, m: m, said: map[string]said{},
		passing: burst{count: o.BurstCount, window: o.BurstWindow},
		refused: burst{count: o.BurstCount, window: o.BurstWindow},
	}
	if o.Webhook != nil {
		if w.hook, err = newHook(*o.Webhook, m, o); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Registry is where the metrics are.
func (w *Watcher) Registry() *prometheus.Registry { return w.o.Registry }

// Handler serves the metrics. They name nobody and no key, but tell how much is
// going on: serve them to the monitoring only.
func (w *Watcher) Handler() http.Handler {
	return promhttp.HandlerFor(w.o.Registry, promhttp.HandlerOpts{})
}

// Run watches until ctx ends, whose error it returns. What fails is counted, put
// in the log and tried again in the next round. Events that still wait when ctx
// ends are posted once more, within a few seconds.
func (w *Watcher) Run(ctx context.Context) error {
	var posting sync.WaitGroup
	if w.hook != nil {
		posting.Go(func() { w.hook.run(ctx) })
	}
	t := time.NewTicker(w.o.Interval)
	defer t.Stop()
	for ctx.Err() == nil {
		w.round(ctx)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	posting.Wait()
	return ctx.Err()
}

// round looks at everything once.
func (w *Watcher) round(ctx context.Context) {
	now := w.now()
	good := w.o.Control != nil
	if w.o.Control != nil {
		// The checkpoint before the records: those that come in between are news.
		good = w.part(ctx, partCheckpoint, w.readCheckpoint) && good
		good = w.part(ctx, partAudit, w.readAudit) && good
		good = w.part(ctx, partOrigins, w.saveOrigins) && good
		w.judgeCheckpoint(now)
	}
	if w.o.Ring != nil && (w.keysAt.IsZero() || now.Sub(w.keysAt) >= w.o.KeysEvery) {
		good = w.part(ctx, partKeys, w.countKeys) && good
	}
	if w.hook != nil {
		w.hook.flush(now)
	}
	if good {
		w.m.lastRound.Set(seconds(now))
	}
}

func (w *Watcher) part(ctx context.Context, name string, do func(context.Context) error) bool {
	err := do(ctx)
	if err == nil {
		return true
	}
	if ctx.Err() == nil {
		w.m.errors.WithLabelValues(name).Inc()
		w.o.Log.Warn("watching failed", "part", name, "error", err)
	}
	return false
}

func (w *Watcher) now() time.Time { return w.o.Clock().UTC() }

// emit counts an event and posts it.
func (w *Watcher) emit(e Event) {
	w.m.events.WithLabelValues(e.Event).Inc()
	w.m.eventAt.WithLabelValues(e.Event).Set(seconds(w.now()))
	if w.hook != nil {
		w.hook.offer(e, w.now())
	}
}

// said is what was told of a condition that goes on.
type said struct {
	at time.Time
	n  int
}

// tell emits an event when a condition begins or gets worse, and again every so
// often while it goes on. n 0: it does not hold.
func (w *Watcher) tell(n int, again time.Duration, e Event) {
	last, now := w.said[e.Event], w.now()
	switch {
	case n == 0:
		delete(w.said, e.Event)
	case last.at.IsZero() || n > last.n || now.Sub(last.at) >= again:
		w.said[e.Event] = said{at: now, n: n}
		e.Time, e.Count = now, n
		e.ID = eventID(e.Event, now.Format(time.RFC3339Nano))
		w.emit(e)
	default:
		w.said[e.Event] = said{at: last.at, n: n}
	}
}
