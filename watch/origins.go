package watch

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
)

// maxOrigins bounds the set. When it is full, the eighth that was not seen for
// longest is forgotten: those are told as new again, which is the safe side.
const maxOrigins = 4096

// origins are the pairs of actor and place that keys were opened by and from.
// They are kept as digests: who they are is on the audit log.
type origins struct {
	since   time.Time // of the first look
	through time.Time // time of the newest record that was taken in
	last    map[string]time.Time

	etag    string    // of the object as it was read or written
	loaded  bool      //
	news    bool      // an origin that is not saved
	saved   time.Time // last
	covered time.Time // through, as saved
}

// place is where a record comes from.
func place(r audit.Record) string {
	a, err := netip.ParseAddr(r.Origin)
	if err != nil {
		return cmp.Or(r.Origin, r.Host)
	}
	a = a.Unmap().WithZone("")
	if a.Is6() { // whoever has one has 2^64 of them, and changes among them
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

func originID(actor, place string) string {
	sum := sha256.Sum256([]byte("rekey origin\n" + actor + "\n" + place))
	return hex.EncodeToString(sum[:16])
}

// seen takes in one more use by an origin, and reports whether it was unknown.
func (o *origins) seen(id string, at time.Time, remember time.Duration) bool {
	at = at.UTC()
	before, ok := o.last[id]
	if !ok || at.After(before) {
		o.last[id] = at
	}
	unknown := !ok || at.Sub(before) > remember
	if !unknown {
		return false
	}
	o.news = true
	o.bound()
	return true
}

// bound forgets the oldest eighth of a set that is too large.
func (o *origins) bound() {
	if len(o.last) <= maxOrigins {
		return
	}
	ids := make([]string, 0, len(o.last))
	for id := range o.last {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(o.last[a].Compare(o.last[b]), cmp.Compare(a, b)) })
	for _, id := range ids[:len(ids)-maxOrigins+maxOrigins/8] {
		delete(o.last, id)
	}
}

// forget drops what was not seen for so long.
func (o *origins) forget(now time.Time, remember time.Duration) {
	for id, at := range o.last {
		if now.Sub(at) > remember {
			delete(o.last, id)
		}
	}
}

// merge takes in what another watcher has saved.
func (o *origins) merge(b *origins) {
	if o.since.IsZero() || !b.since.IsZero() && b.since.Before(o.since) {
		o.since = b.since
	}
	if b.through.After(o.through) {
		o.through = b.through
	}
	for id, at := range b.last {
		if at.After(o.last[id]) {
			o.last[id] = at
		}
	}
	o.bound()
}

// judgeOrigin tells of an origin that is new. What is no news is learnt, and so is
// all in the first time.
func (w *Watcher) judgeOrigin(e audit.Entry, news bool) {
	o := w.origins
	learning := e.Time.Before(o.since.Add(w.o.Learn))
	unknown := o.seen(originID(e.Actor, w.o.Place(e.Record)), e.Time, w.o.Remember)
	w.m.origins.Set(float64(len(o.last)))
	if unknown && news && !learning {
		w.emit(ofRecord(NewOrigin, Warning, "A key was opened by an actor from a place that is new.", e))
	}
}
