package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
)

const (
	// catchUp is how many of the newest records a start looks at.
	catchUp = 4096
	// overlap is how much is read again after a restart: what was written late,
	// or since the last save.
	overlap = time.Minute + saveEvery
	// remembered is how many records are known not to be news.
	remembered = 2 * catchUp
)

// reading is how far the log has been read.
type reading struct {
	tail *audit.Tail // nil: to be begun
	from time.Time   // records up to here do not count
	ids  recent
}

// recent is a bounded set of record ids.
type recent struct {
	known map[string]bool
	order []string // oldest first, from next on; then around
	next  int
}

// add reports whether an id is new.
func (r *recent) add(id string) bool {
	if r.known == nil {
		r.known = map[string]bool{}
	}
	if r.known[id] {
		return false
	}
	r.known[id] = true
	if len(r.order) < remembered {
		r.order = append(r.order, id)
		return true
	}
	delete(r.known, r.order[r.next])
	r.order[r.next] = id
	r.next = (r.next + 1) % remembered
	return true
}

// readAudit takes in the records that came since the last look.
func (w *Watcher) readAudit(ctx context.Context) error {
	if w.reading.tail == nil {
		return w.beginAudit(ctx)
	}
	got, err := w.reading.tail.Next(ctx)
	for _, e := range got {
		w.take(e)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, audit.ErrCorrupt) {
		w.unreadable(err)
		return nil
	}
	// What the tail has read before it failed is lost to it: begin again, and
	// leave out what is known.
	w.reading.tail = nil
	return err
}

// beginAudit looks at the newest records: at the first start in order to learn,
// later for what came since the last save, or the last error.
func (w *Watcher) beginAudit(ctx context.Context) error {
	if err := w.loadOrigins(ctx); err != nil {
		return err
	}
	tail := audit.NewTail(w.o.Control, w.o.Clock)
	got, err := tail.Last(ctx, catchUp)
	if err != nil && len(got) == 0 {
		return err
	}
	if err != nil {
		w.unreadable(err)
	}
	if w.reading.from.IsZero() {
		w.reading.from = w.now()
		if t := w.origins.through; !t.IsZero() {
			w.reading.from = t.Add(-overlap)
		}
		// Of a longer gap only the newest count.
		if len(got) == catchUp && got[0].Time.After(w.reading.from) {
			w.reading.from = got[0].Time
		}
		w.m.tailStart.Set(seconds(w.reading.from))
	}
	w.reading.tail = tail
	for _, e := range got {
		w.take(e)
	}
	return nil
}

func (w *Watcher) unreadable(err error) {
	w.m.unreadable.Inc()
	w.o.Log.Error("audit records do not read", "error", err)
	now, object := w.now(), ""
	if e, ok := errors.AsType[*audit.Error](err); ok {
		object = e.Object
	}
	w.emit(Event{
		ID: eventID(AuditUnreadable, object), Event: AuditUnreadable, Severity: Critical, Time: now, Count: 1,
		Summary: "An audit record does not read or does not follow the one before: verify the log.",
		Details: Details{Object: cut(object)},
	})
}

// take looks at one record, once.
func (w *Watcher) take(e audit.Entry) {
	if !w.reading.ids.add(e.ID) {
		return
	}
	w.checkpoint.wait(e.Time)
	news := e.Time.After(w.reading.from)
	if opens(e.Record) {
		w.judgeOrigin(e, news)
	}
	if t := e.Time; t.After(w.origins.through) && !t.After(w.now()) {
		w.origins.through = t.UTC()
	}
	if !news {
		return
	}
	w.m.records.WithLabelValues(known(actions(), e.Action), known(outcomes(), e.Outcome)).Inc()
	if e.Outcome == audit.Refused {
		w.judgeRefusal(e)
	}
}

func known(table []string, s string) string {
	if slices.Contains(table, s) {
		return s
	}
	return other
}

func (w *Watcher) judgeRefusal(e audit.Entry) {
	area, _, _ := strings.Cut(e.Action, ".")
	w.m.refused.WithLabelValues(known(areas(), area)).Inc()
	if e.Action == audit.KeyRefuse {
		if use, yes := ofCompromised(e.Reason); yes {
			w.m.compromise.WithLabelValues(use).Inc()
			ev := ofRecord(CompromisedUnwrap, Critical, "A compromised key was asked for outside its rotation, and refused.", e)
			ev.Details.Use = use
			w.emit(ev)
		}
	}
	if w.refused.add(e.Time) {
		ev := ofRecord(RefusedBurst, Warning, fmt.Sprintf("%d requests were refused within %s.", w.o.BurstCount, w.o.BurstWindow), e)
		ev.Count = w.o.BurstCount
		w.emit(ev)
	}
}

// opens reports a record of a key that is opened.
func opens(r audit.Record) bool {
	if r.Outcome != audit.Allowed {
		return false
	}
	switch r.Action {
	case audit.KeyUnwrap, audit.KeyExport, audit.KeyBackup, audit.KeyRewrap:
		return true
	}
	return false
}
