package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/seed-6133abe0/rekey/audit/strictjson"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// anchorPrefix holds the second and each later event of every record, by number,
// beside the audit log:
//
//	audit/states/<kid>/00000002.json
//
// An event counts once its anchor stands. The record is written after it, and
// whoever reads a record that is behind its anchors takes them in: so key
// objects that are put back from an old copy do not bring an old state back, and
// a crash between the two writes loses nothing.
const anchorPrefix = "audit/states/"

const maxAnchor = 64 << 10 // bytes

func anchorName(kid key.KID, n int) string {
	return fmt.Sprintf("%s%s/%08d%s", anchorPrefix, kid, n, suffix)
}

// anchorOfName is anchorName's inverse.
func anchorOfName(name string) (kid key.KID, n int, err error) {
	digits, number, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(name, anchorPrefix), suffix), "/")
	kid, err = key.ParseKID(digits)
	n, numErr := strconv.Atoi(number)
	if !ok || err != nil || numErr != nil || n < 2 || anchorName(kid, n) != name {
		return key.KID{}, 0, corrupt(name, -1, "is not named as an event of a key record")
	}
	return kid, n, nil
}

// anchor makes ev the n-th event of a key for good; store.ErrPrecondition where
// another one is. After store.ErrUnavailable it may stand: who reads again sees.
func (r *Ring) anchor(ctx context.Context, kid key.KID, n int, ev Event) error {
	body, err := encodeEvent(ev)
	if err != nil {
		return err
	}
	_, err = r.o.Store.Put(ctx, anchorName(kid, n), body, store.PutOptions{CreateOnly: true, Attributes: recordAttributes()})
	return err
}

func encodeEvent(ev Event) ([]byte, error) {
	body, err := json.Marshal(ev)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	if len(body) >= maxAnchor {
		return nil, fmt.Errorf("encode event: %w: %d bytes, at most %d", ErrSyntax, len(body)+1, maxAnchor)
	}
	return append(body, '\n'), nil
}

// decodeEvent reads the event that stands under name. Its errors are *Error of
// class ErrCorrupt.
func decodeEvent(name string, b []byte) (Event, error) {
	var ev Event
	if err := strictjson.Decode(b, &ev); err != nil {
		return Event{}, corrupt(name, -1, err.Error())
	}
	if reason := ev.fault(); reason != "" {
		return Event{}, corrupt(name, -1, reason)
	}
	return ev, nil
}

// catchUp takes in the events that rec is behind, and counts them.
func (r *Ring) catchUp(ctx context.Context, rec *Record) (behind int, err error) {
	for ; ; behind++ {
		name := anchorName(rec.KID, len(rec.History)+1)
		body, _, err := store.ReadAll(ctx, r.o.Store, name, "", maxAnchor, nil)
		if errors.Is(err, store.ErrNotFound) {
			return behind, nil
		}
		if err != nil {
			return behind, err
		}
		ev, err := decodeEvent(name, body)
		if err != nil {
			return behind, err
		}
		if reason := ev.misfit(rec.State); reason != "" {
			return behind, corrupt(name, -1, reason)
		}
		rec.apply(ev)
	}
}

// vouch holds the event that a record's state comes from against its anchor: a
// state that somebody wrote into the record alone is ErrCorrupt.
func (r *Ring) vouch(ctx context.Context, rec Record) error {
	n := len(rec.History)
	if n < 2 {
		return nil // the first event is the record's own
	}
	name := anchorName(rec.KID, n)
	ev, err := readEvent(ctx, r.o.Store, name)
	if errors.Is(err, store.ErrNotFound) {
		return corrupt(objectName(rec.KID), -1, fmt.Sprintf("has an event %d, and %s does not stand", n, name))
	}
	if err != nil {
		return err
	}
	if !ev.same(rec.History[n-1]) {
		return corrupt(objectName(rec.KID), -1, fmt.Sprintf("its event %d is not that of %s", n, name))
	}
	return nil
}

// apply appends an event and what follows from it.
func (r *Record) apply(ev Event) {
	r.History = append(r.History, ev)
	r.State = ev.State
	if r.URI == "" {
		r.URI = ev.URI
	}
	if ev.State == Destroyed {
		r.Wrapped = nil
	}
}

// anchored yields the number of the last anchored event of each key that has
// any, in the order of KIDs, and an error (ErrCorrupt) for each object that is no
// event. Another error ends it.
func (r *Ring) anchored(ctx context.Context) iter.Seq2[anchorCount, error] {
	return func(yield func(anchorCount, error) bool) {
		var last anchorCount
		for info, err := range r.o.Store.List(ctx, anchorPrefix) {
			if err != nil {
				yield(anchorCount{}, err)
				return
			}
			kid, n, err := anchorOfName(info.Key)
			if err != nil {
				if !yield(anchorCount{}, err) {
					return
				}
				continue
			}
			if last.n != 0 && kid != last.kid && !yield(last, nil) {
				return
			}
			last = anchorCount{kid, n}
		}
		if last.n != 0 {
			yield(last, nil)
		}
	}
}

type anchorCount struct {
	kid key.KID
	n   int
}
