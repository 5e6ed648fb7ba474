package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/store"
)

// ErrCorrupt is the class of a record that is not what it should be.
var ErrCorrupt = errors.New("corrupt journal record")

// ErrNoRotation is returned for a rotation that has no state record.
var ErrNoRotation = errors.New("no such rotation")

const maxRecord = 256 << 20

// Control is the control prefix. Errors are the store's.
type Control interface {
	Get(ctx context.Context, key string, o store.GetOptions) (store.Info, io.ReadCloser, error)
	List(ctx context.Context, prefix string) iter.Seq2[store.Info, error]
	Put(ctx context.Context, key string, body []byte, o store.PutOptions) (store.Info, error)
}

// Journal reads and writes the records of all rotations.
type Journal struct{ c Control }

// New uses the control prefix c.
func New(c Control) *Journal { return &Journal{c: c} }

func dir(rotation string) string      { return "rotations/" + rotation + "/" }
func stateKey(rotation string) string { return dir(rotation) + "state.json" }
func leaseKey(rotation string) string { return dir(rotation) + "lease.json" }
func planKey(rotation, asset string) string {
	return dir(rotation) + "plan/" + catalog.Escape(asset) + ".json"
}
func outcomeKey(rotation, asset string) string {
	return dir(rotation) + "assets/" + catalog.Escape(asset) + ".json"
}
func partDir(rotation, asset string) string {
	return dir(rotation) + "parts/" + catalog.Escape(asset) + "/"
}
func failureDir(rotation, asset string) string {
	return dir(rotation) + "failures/" + catalog.Escape(asset) + "/"
}

// Rotations yields the IDs of all rotations, oldest first.
func (j *Journal) Rotations(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for info, err := range j.c.List(ctx, "rotations/") {
			if err != nil {
				yield("", fmt.Errorf("list rotations: %w", err))
				return
			}
			id, rest, _ := strings.Cut(strings.TrimPrefix(info.Key, "rotations/"), "/")
			if rest == "state.json" && !yield(id, nil) {
				return
			}
		}
	}
}

// State returns the rotation's state and the ETag for SetState.
func (j *Journal) State(ctx context.Context, rotation string) (State, string, error) {
	var s State
	etag, err := j.get(ctx, stateKey(rotation), &s)
	if errors.Is(err, store.ErrNotFound) {
		return s, "", fmt.Errorf("read rotation %s: %w", rotation, ErrNoRotation)
	}
	if err == nil && s.Rotation != rotation {
		err = fmt.Errorf("read %s: %w: it names rotation %q", stateKey(rotation), ErrCorrupt, s.Rotation)
	}
	return s, etag, err
}

// SetState replaces the state that had the ETag; an empty ETag creates it.
// store.ErrPrecondition means that somebody else changed it.
func (j *Journal) SetState(ctx context.Context, s State, etag string) error {
	return j.put(ctx, stateKey(s.Rotation), s, etag)
}

// Lease returns the rotation's lease and its ETag; an empty ETag where nobody
// ever held one.
func (j *Journal) Lease(ctx context.Context, rotation string) (Lease, string, error) {
	var l Lease
	etag, err := j.get(ctx, leaseKey(rotation), &l)
	if errors.Is(err, store.ErrNotFound) {
		return Lease{}, "", nil
	}
	return l, etag, err
}

// SetLease replaces the lease that had the ETag; an empty ETag creates it.
func (j *Journal) SetLease(ctx context.Context, rotation string, l Lease, etag string) error {
	return j.put(ctx, leaseKey(rotation), l, etag)
}

// AddPlan writes a plan, once.
func (j *Journal) AddPlan(ctx context.Context, p *Plan) error {
	return j.put(ctx, planKey(p.Rotation, p.Asset), p, "")
}

// Plan returns the plan of one asset.
func (j *Journal) Plan(ctx context.Context, rotation, asset string) (*Plan, error) {
	return j.plan(ctx, planKey(rotation, asset))
}

func (j *Journal) plan(ctx context.Context, k string) (*Plan, error) {
	var p Plan
	if _, err := j.get(ctx, k, &p); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", k, ErrCorrupt, err)
	}
	return &p, nil
}

// check refuses a plan whose parts would index past its tracks or objects.
func (p *Plan) check() error {
	for i, part := range p.Parts {
		switch {
		case part.N != i:
			return fmt.Errorf("part %d is numbered %d", i, part.N)
		case part.Track < 0 || part.Track >= len(p.Tracks):
			return fmt.Errorf("part %d names track %d of %d", i, part.Track, len(p.Tracks))
		case part.First < 0 || part.First > part.Last || part.Last >= len(p.Tracks[part.Track].Objects):
			return fmt.Errorf("part %d names objects %d to %d", i, part.First, part.Last)
		}
	}
	return nil
}

// Plans yields every plan of the rotation, in asset order.
func (j *Journal) Plans(ctx context.Context, rotation string) iter.Seq2[*Plan, error] {
	return func(yield func(*Plan, error) bool) {
		for info, err := range j.c.List(ctx, dir(rotation)+"plan/") {
			var p *Plan
			if err == nil {
				p, err = j.plan(ctx, info.Key)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// AddPart records that a part is done. A record that stands already stays: the
// part was done twice, with the same bytes.
func (j *Journal) AddPart(ctx context.Context, rotation, asset string, r PartRecord) error {
	err := j.put(ctx, partDir(rotation, asset)+strconv.Itoa(r.Part)+".json", r, "")
	if errors.Is(err, store.ErrPrecondition) {
		return nil
	}
	return err
}

// HasPart reports whether the part is done.
func (j *Journal) HasPart(ctx context.Context, rotation, asset string, n int) (bool, error) {
	var r PartRecord
	_, err := j.get(ctx, partDir(rotation, asset)+strconv.Itoa(n)+".json", &r)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// PartNumbers lists the parts of the asset that are done, without reading them.
func (j *Journal) PartNumbers(ctx context.Context, rotation, asset string) (map[int]bool, error) {
	done := map[int]bool{}
	prefix := partDir(rotation, asset)
	for info, err := range j.c.List(ctx, prefix) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", prefix, err)
		}
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(info.Key, prefix), ".json"))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w: %s is no part number", prefix, ErrCorrupt, info.Key)
		}
		done[n] = true
	}
	return done, nil
}

// Parts yields the records of the asset's finished parts.
func (j *Journal) Parts(ctx context.Context, rotation, asset string) iter.Seq2[PartRecord, error] {
	return records[PartRecord](ctx, j, partDir(rotation, asset))
}

// AddFailure records that a part can never be done. The first reason stands.
func (j *Journal) AddFailure(ctx context.Context, rotation, asset string, f Failure) error {
	err := j.put(ctx, failureDir(rotation, asset)+strconv.Itoa(f.Part)+".json", f, "")
	if errors.Is(err, store.ErrPrecondition) {
		return nil
	}
	return err
}

// Failures yields the asset's failures.
func (j *Journal) Failures(ctx context.Context, rotation, asset string) iter.Seq2[Failure, error] {
	return records[Failure](ctx, j, failureDir(rotation, asset))
}

// Outcome returns what became of the asset, with its ETag; AssetPending and an
// empty ETag where nothing has yet.
func (j *Journal) Outcome(ctx context.Context, rotation, asset string) (Outcome, string, error) {
	var o Outcome
	etag, err := j.get(ctx, outcomeKey(rotation, asset), &o)
	if errors.Is(err, store.ErrNotFound) {
		return Outcome{Asset: asset, State: AssetPending}, "", nil
	}
	return o, etag, err
}

// SetOutcome replaces the outcome that had the ETag; an empty ETag creates it.
func (j *Journal) SetOutcome(ctx context.Context, rotation string, o Outcome, etag string) error {
	return j.put(ctx, outcomeKey(rotation, o.Asset), o, etag)
}

func records[T any](ctx context.Context, j *Journal, prefix string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for info, err := range j.c.List(ctx, prefix) {
			var r T
			if err == nil {
				_, err = j.get(ctx, info.Key, &r)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func (j *Journal) get(ctx context.Context, k string, v any) (string, error) {
	info, body, err := j.c.Get(ctx, k, store.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read %s: %w", k, err)
	}
	defer func() { _ = body.Close() }()
	b, err := io.ReadAll(io.LimitReader(body, maxRecord))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", k, err)
	}
	return info.ETag, decode(k, b, v)
}

// decode takes one JSON value and nothing after it.
func decode(k string, b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("read %s: %w at offset %d: %w", k, ErrCorrupt, d.InputOffset(), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w at offset %d: more after the record", k, ErrCorrupt, d.InputOffset())
	}
	return nil
}

func (j *Journal) put(ctx context.Context, k string, v any, etag string) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", k, err)
	}
	o := store.PutOptions{IfMatch: etag, CreateOnly: etag == ""}
	o.Attributes.ContentType = "application/json"
	if _, err := j.c.Put(ctx, k, b, o); err != nil {
		return fmt.Errorf("write %s: %w", k, err)
	}
	return nil
}

// Flip holds an entry manifest as it was and as it will be. It is written
// before the flip, so that whoever comes after a crash can tell a finished flip
// from a manifest that somebody else replaced. One with nothing new is a fence: it
// stands where the flip's record would, so that the flip can never be made.
type Flip struct {
	Key string `json:"key"`
	Old []byte `json:"old"`
	New []byte `json:"new"`
}

// Fence reports that the manifest may never be flipped.
func (f Flip) Fence() bool { return len(f.New) == 0 }

func flipKey(rotation, asset, manifest string) string {
	return dir(rotation) + "flips/" + catalog.Escape(asset) + "/" + catalog.Escape(manifest) + ".json"
}

// AddFlip writes a flip, once; store.ErrPrecondition where one stands already.
func (j *Journal) AddFlip(ctx context.Context, rotation, asset string, f Flip) error {
	return j.put(ctx, flipKey(rotation, asset, f.Key), f, "")
}

// Flip returns the flip of one entry manifest; store.ErrNotFound where none
// was written.
func (j *Journal) Flip(ctx context.Context, rotation, asset, manifest string) (Flip, error) {
	var f Flip
	_, err := j.get(ctx, flipKey(rotation, asset, manifest), &f)
	return f, err
}
