package watch

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/audit/strictjson"
	"github.com/seed-6133abe0/rekey/store"
)

const (
	originsName    = "watch/origins.json"
	originsVersion = 1
	maxSaved       = 1 << 20 // bytes; a full set has a third of it
	// saveEvery is how often how far was read is saved; a new origin is at once.
	saveEvery = time.Minute
	saveTries = 3
)

// ErrCorrupt is the class of a saved object that does not read.
var ErrCorrupt = errors.New("saved origins are corrupt")

// Error says where it goes wrong.
type Error struct {
	Object string // the name in the control store
	Offset int64  // in bytes; -1: unknown
	Reason string
	Class  error
}

func (e *Error) Error() string {
	at := ""
	if e.Offset >= 0 {
		at = fmt.Sprintf(" at offset %d", e.Offset)
	}
	return fmt.Sprintf("read %s: %v%s: %s", e.Object, e.Class, at, e.Reason)
}

// Unwrap is the class.
func (e *Error) Unwrap() error { return e.Class }

func corrupt(reason string) error {
	return &Error{Object: originsName, Offset: -1, Reason: reason, Class: ErrCorrupt}
}

type savedOrigins struct {
	Version int           `json:"version"`
	Since   time.Time     `json:"since"`
	Through time.Time     `json:"through"`
	Origins []savedOrigin `json:"origins"`
}

type savedOrigin struct {
	ID   string    `json:"id"`
	Last time.Time `json:"last"`
}

func (o *origins) encode() ([]byte, error) {
	s := savedOrigins{Version: originsVersion, Since: o.since, Through: o.through, Origins: []savedOrigin{}}
	for id, at := range o.last {
		s.Origins = append(s.Origins, savedOrigin{ID: id, Last: at})
	}
	slices.SortFunc(s.Origins, func(a, b savedOrigin) int { return strings.Compare(a.ID, b.ID) })
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", originsName, err)
	}
	return append(b, '\n'), nil
}

// decodeOrigins reads what encode wrote; errors are of class ErrCorrupt.
func decodeOrigins(b []byte) (*origins, error) {
	var s savedOrigins
	if err := strictjson.Decode(b, &s); err != nil {
		e := &Error{Object: originsName, Offset: -1, Reason: err.Error(), Class: ErrCorrupt}
		if at, ok := errors.AsType[*strictjson.Error](err); ok {
			e.Offset, e.Reason = at.Offset, at.Reason
		}
		return nil, e
	}
	switch {
	case s.Version != originsVersion:
		return nil, corrupt(fmt.Sprintf("version %d, want %d", s.Version, originsVersion))
	case len(s.Origins) > maxOrigins:
		return nil, corrupt(fmt.Sprintf("%d origins, at most %d", len(s.Origins), maxOrigins))
	case s.Since.IsZero():
		return nil, corrupt("does not say since when")
	}
	o := &origins{since: s.Since.UTC(), through: s.Through.UTC(), last: map[string]time.Time{}}
	for i, x := range s.Origins {
		if raw, err := hex.DecodeString(x.ID); err != nil || len(raw) != 16 || hex.EncodeToString(raw) != x.ID {
			return nil, corrupt(fmt.Sprintf("origin %d has no valid id", i))
		}
		if i > 0 && s.Origins[i-1].ID >= x.ID {
			return nil, corrupt(fmt.Sprintf("origin %d is out of order", i))
		}
		o.last[x.ID] = x.Last.UTC()
	}
	return o, nil
}

// loadOrigins reads what is saved, once. Where nothing is, learning begins now;
// where it does not read, nothing is known and nothing is learnt in silence.
func (w *Watcher) loadOrigins(ctx context.Context) error {
	if w.origins != nil && w.origins.loaded {
		return nil
	}
	o, err := w.readOrigins(ctx)
	switch {
	case errors.Is(err, ErrCorrupt):
		w.m.errors.WithLabelValues(partOrigins).Inc()
		w.o.Log.Error("known origins are lost", "error", err)
		o.since = w.now().Add(-w.o.Learn)
	case err != nil:
		return err
	}
	if o.since.IsZero() {
		o.since = w.now()
	}
	o.loaded, o.news, o.covered = true, o.etag == "" || err != nil, o.through
	w.origins = o
	return nil
}

// readOrigins returns an empty set where there is none; with ErrCorrupt it has
// the ETag alone.
func (w *Watcher) readOrigins(ctx context.Context) (*origins, error) {
	empty := &origins{last: map[string]time.Time{}}
	b, info, err := store.ReadAll(ctx, w.o.Control, originsName, "", maxSaved, nil)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return empty, nil
	case errors.Is(err, store.ErrTooLarge):
		empty.etag = info.ETag
		return empty, corrupt("is too large")
	case err != nil:
		return empty, fmt.Errorf("read known origins: %w", err)
	}
	o, err := decodeOrigins(b)
	if err != nil {
		empty.etag = info.ETag
		return empty, err
	}
	o.etag = info.ETag
	return o, nil
}

// saveOrigins writes the set where it has changed. What another watcher has
// written meanwhile is taken in.
func (w *Watcher) saveOrigins(ctx context.Context) error {
	o, now := w.origins, w.now()
	if o == nil {
		return nil // the log was not read yet
	}
	w.m.learning.Set(0)
	if now.Before(o.since.Add(w.o.Learn)) {
		w.m.learning.Set(1)
	}
	if !o.news && (!o.through.After(o.covered) || now.Sub(o.saved) < saveEvery) {
		return nil
	}
	o.forget(now, w.o.Remember)
	for range saveTries {
		body, err := o.encode()
		if err != nil {
			return err
		}
		info, err := w.o.Control.Put(ctx, originsName, body, store.PutOptions{
			IfMatch: o.etag, CreateOnly: o.etag == "", Attributes: store.Attributes{ContentType: "application/json"},
		})
		if err == nil {
			o.etag, o.news, o.saved, o.covered = info.ETag, false, now, o.through
			w.m.origins.Set(float64(len(o.last)))
			return nil
		}
		if !errors.Is(err, store.ErrPrecondition) {
			return fmt.Errorf("save known origins: %w", err)
		}
		theirs, err := w.readOrigins(ctx)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
		o.merge(theirs)
		o.etag = theirs.etag
	}
	return nil // others keep writing; the next round does it
}
