package watch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/keyring"
)

// expiryAgain is how often keys near or past their expiry are told of.
const expiryAgain = 24 * time.Hour

// counted is what a listing of the key records comes to.
type counted struct {
	states  map[keyring.State]int
	near    expiring
	expired expiring
	next    time.Time // expiry of an active key
	bad     int
}

// expiring counts keys, and keeps the one that expires first.
type expiring struct {
	n     int
	first keyring.Record
}

func (x *expiring) add(r keyring.Record) {
	if x.n == 0 || r.Expires.Before(x.first.Expires) {
		x.first = r
	}
	x.n++
}

func (c *counted) add(r keyring.Record, now time.Time, near time.Duration) {
	s := r.StateAt(now)
	c.states[s]++
	switch {
	case r.Expired(now) && s != keyring.Compromised && s != keyring.Destroyed:
		c.expired.add(r)
	case s == keyring.Active && !r.Expires.IsZero():
		if c.next.IsZero() || r.Expires.Before(c.next) {
			c.next = r.Expires
		}
		if r.Expires.Sub(now) <= near {
			c.near.add(r)
		}
	}
}

// countKeys lists all key records. If that fails the gauges stay as they were.
func (w *Watcher) countKeys(ctx context.Context) error {
	now := w.now()
	c := counted{states: map[keyring.State]int{}}
	var failed error
	for r, err := range w.o.Ring.List(ctx) {
		switch {
		case errors.Is(err, keyring.ErrCorrupt):
			c.bad++
		case err != nil:
			failed = err
		default:
			c.add(r, now, w.o.NearExpiry)
		}
	}
	if failed != nil {
		return fmt.Errorf("count keys: %w", failed)
	}
	w.keysAt = now
	for _, s := range keyring.States() {
		w.m.keys.WithLabelValues(string(s)).Set(float64(c.states[s]))
	}
	w.m.keysNear.Set(float64(c.near.n))
	w.m.keysExpired.Set(float64(c.expired.n))
	w.m.keysBad.Set(float64(c.bad))
	w.m.keyNext.Set(seconds(c.next))
	w.tell(c.near.n, expiryAgain, c.near.event(KeysNearExpiry, "Active keys expire soon; the first is named."))
	w.tell(c.expired.n, expiryAgain, c.expired.event(KeysExpired, "Keys are past their expiry and not destroyed; the first is named."))
	return nil
}

func (x expiring) event(name, summary string) Event {
	e := Event{Event: name, Severity: Warning, Summary: summary}
	if x.n > 0 {
		at := x.first.Expires.UTC()
		e.Details = Details{KID: x.first.KID.String(), Expires: &at}
	}
	return e
}
