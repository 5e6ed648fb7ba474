package worker

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/store"
)

// The classes of a part's permanent failures.
var (
	ErrStale    = errors.New("source object was replaced after the plan")
	ErrWrongKey = errors.New("old key is wrong")
	ErrForeign  = errors.New("another object stands under the new name")
	ErrReadBack = errors.New("stored object differs from what was written")
)

// MaxObject is the largest segment a slot takes whole.
const MaxObject = 512 << 20

// Keys unwraps content keys. Errors are keyring's: ErrForbidden where the
// key's state does not allow the use, ErrNotFound where there is no record.
type Keys interface {
	Unwrap(ctx context.Context, kid key.KID, use keyring.Use, rotation string) (key.ContentKey, error)
	OpenSecret(ctx context.Context, kid key.KID, rotation string) (key.ContentKey, error)
}

// Worker does parts. It is safe for concurrent use.
type Worker struct {
	Media   store.Store
	Journal *journal.Journal
	Keys    Keys
	// Name is what records call this worker.
	Name  string
	Clock func() time.Time
	Log   *slog.Logger
	// ReadBack reads every object back after it is written. The first and last
	// object of a track are read back always.
	ReadBack bool

	buffers sync.Pool
	ended   atomic.Int64
}

// Ended is how many parts were worked on and let go, whatever came of them: what
// they held in memory is garbage from then on.
func (w *Worker) Ended() int64 { return w.ended.Load() }

// Work does one part. A permanent failure is recorded, and so is one that has
// used up its attempts.
func (w *Worker) Work(ctx context.Context, p queue.Part, last bool) error {
	defer w.ended.Add(1)
	err := w.do(ctx, p)
	if err == nil {
		return nil
	}
	// A worker that cannot use the KEK says nothing of the asset: the part waits
	// for one that can.
	if errors.Is(err, errLetGo) || ctx.Err() == nil && w.stopped(ctx, p.Rotation) {
		w.Log.Info("part is let go: its rotation is paused or over", "rotation", p.Rotation, "asset", p.Asset, "part", p.Part)
		return nil
	}
	if ctx.Err() != nil || kms.OutOfReach(err) || (transient(err) && !last) {
		w.Log.Warn("part will be tried again", "rotation", p.Rotation, "asset", p.Asset, "part", p.Part, "error", err)
		return err
	}
	f := journal.Failure{Part: p.Part, Reason: err.Error(), Worker: w.Name, Time: w.Clock()}
	var at *objectError
	if errors.As(err, &at) {
		f.Object, f.Reason = at.object, at.err.Error()
	}
	w.Log.Error("part failed for good", "rotation", p.Rotation, "asset", p.Asset, "part", p.Part, "object", f.Object, "reason", f.Reason)
	if err := w.Journal.AddFailure(ctx, p.Rotation, p.Asset, f); err != nil {
		return err
	}
	return queue.Permanent(err)
}

// transient tells what a retry may mend. Everything unknown is permanent: an
// object that cannot be read stays so.
func transient(err error) bool {
	for _, class := range []error{
		store.ErrUnavailable, store.ErrConflict, store.ErrDenied,
		io.ErrUnexpectedEOF,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// objectError says at which object a part failed.
type objectError struct {
	object string
	err    error
}

func (e *objectError) Error() string { return e.object + ": " + e.err.Error() }
func (e *objectError) Unwrap() error { return e.err }

// lookEvery is how long a worker goes from object to object without looking whether
// its rotation still goes on.
const lookEvery = time.Second

// errLetGo: the rotation was paused or ended while the part was worked.
var errLetGo = errors.New("rotation is paused or over")

// stopped looks whether nothing is to be worked now. What cannot be told counts as
// going on.
func (w *Worker) stopped(ctx context.Context, rotation string) bool {
	state, _, err := w.Journal.State(ctx, rotation)
	return err == nil && state.Phase.Stopped()
}

func (w *Worker) do(ctx context.Context, p queue.Part) error {
	state, _, err := w.Journal.State(ctx, p.Rotation)
	if err != nil {
		return err
	}
	if state.Phase.Stopped() {
		return nil
	}
	done, err := w.Journal.HasPart(ctx, p.Rotation, p.Asset, p.Part)
	if done || err != nil {
		return err
	}
	plan, err := w.Journal.Plan(ctx, p.Rotation, p.Asset)
	if err != nil {
		return err
	}
	if plan.Refusal != nil {
		return nil
	}
	if p.Part < 0 || p.Part >= len(plan.Parts) {
		return fmt.Errorf("work part %d of %s: the plan has %d parts", p.Part, p.Asset, len(plan.Parts))
	}
	record, err := w.part(ctx, state, plan, plan.Parts[p.Part])
	if w.takeBack(ctx, plan, plan.Parts[p.Part]) {
		return errLetGo
	}
	if err != nil {
		return err
	}
	return w.Journal.AddPart(ctx, p.Rotation, p.Asset, record)
}

// takeBackFor bounds what a worker does after the end of its context.
const takeBackFor = 10 * time.Second

// takeBack looks, after a part, whether its rotation is over. Where the asset was
// cancelled meanwhile, what the part wrote is deleted: nothing leads to it, nothing
// ever will, and whoever cleaned up may have been there before it was written.
func (w *Worker) takeBack(ctx context.Context, plan *journal.Plan, part journal.Part) (over bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackFor)
	defer cancel()
	state, _, err := w.Journal.State(ctx, plan.Rotation)
	if err != nil || !state.Phase.Final() {
		return false
	}
	o, _, err := w.Journal.Outcome(ctx, plan.Rotation, plan.Asset)
	if err == nil && o.State == journal.AssetCancelled {
		for i := part.First; i <= part.Last && err == nil; i++ {
			err = w.unwrite(ctx, plan.Tracks[part.Track].Objects[i].To)
		}
	}
	if err != nil {
		w.Log.Warn("what a part of a cancelled asset wrote may still be there; rekey clean takes it back", "rotation", plan.Rotation, "asset", plan.Asset, "part", part.N, "error", err)
	}
	return true
}

// unwrite deletes an object if it is there: on a versioned bucket, deleting what
// never was would leave a mark.
func (w *Worker) unwrite(ctx context.Context, k string) error {
	_, err := w.Media.Stat(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = w.Media.Delete(ctx, k)
	}
	return err
}

func (w *Worker) part(ctx context.Context, state journal.State, plan *journal.Plan, part journal.Part) (journal.PartRecord, error) {
	record := journal.PartRecord{Part: part.N, Worker: w.Name}
	track := plan.Tracks[part.Track]
	mac, err := w.mac(ctx, state)
	if err != nil {
		return record, err
	}
	changes, err := w.changes(ctx, plan)
	if err != nil {
		return record, err
	}
	rekey, err := w.rekeyer(ctx, track, changes)
	var at *objectError
	if err != nil && !errors.As(err, &at) {
		err = &objectError{object: track.ID, err: err}
	}
	if err != nil {
		return record, err
	}
	first := 0
	if track.Objects[0].Init {
		first = 1
	}
	looked := w.Clock()
	for i := part.First; i <= part.Last; i++ {
		if now := w.Clock(); now.Sub(looked) >= lookEvery {
			if w.stopped(ctx, plan.Rotation) {
				return record, errLetGo
			}
			looked = now
		}
		edge := i == first || i == len(track.Objects)-1
		done, err := w.object(ctx, track.Objects[i], rekey, mac, edge)
		if err != nil {
			return record, &objectError{object: track.Objects[i].From, err: err}
		}
		record.Objects = append(record.Objects, done.record)
		record.Evidence.Add(done.evidence)
		record.ByKID = evidence.Merge(record.ByKID, done.byKID)
		record.Findings = append(record.Findings, done.findings...)
	}
	record.Finished = w.Clock()
	return record, nil
}

// MACKeyKID is the name of a rotation's MAC key.
func MACKeyKID(rotation string) key.KID { return key.KIDFromURI("rotation:" + rotation) }

func (w *Worker) mac(ctx context.Context, state journal.State) (cipher.AEAD, error) {
	k, err := w.Keys.OpenSecret(ctx, MACKeyKID(state.Rotation), state.Rotation)
	if err != nil {
		return nil, fmt.Errorf("unwrap MAC key: %w", err)
	}
	mac, err := cipher.NewGCMWithRandomNonce(k.Block())
	if err == nil {
		key.WipeLater(mac)
	}
	return mac, err
}

func (w *Worker) changes(ctx context.Context, plan *journal.Plan) (key.Changes, error) {
	changes := key.Changes{}
	for _, k := range plan.Keys {
		old, err := w.Keys.Unwrap(ctx, k.OldKID, keyring.DecryptRekey, plan.Rotation)
		if err != nil {
			return nil, fmt.Errorf("unwrap old key %s: %w", k.OldKID, err)
		}
		fresh, err := w.Keys.Unwrap(ctx, k.NewKID, keyring.Encrypt, plan.Rotation)
		if err != nil {
			return nil, fmt.Errorf("unwrap new key %s: %w", k.NewKID, err)
		}
		changes[k.OldKID] = key.Change{Old: old, New: fresh, NewKID: k.NewKID, PSSH: k.PSSH()}
	}
	return changes, nil
}

// result is what one object came to.
type result struct {
	out, clear []byte
	evidence   evidence.Evidence
	byKID      map[key.KID]evidence.Evidence // of a track with several old keys
	findings   []string
	grown      []journal.Growth
}

type done struct {
	record   journal.ObjectRecord
	evidence evidence.Evidence
	byKID    map[key.KID]evidence.Evidence
	findings []string
}

// object rewrites one object. Nothing is written before the old key has been
// weighed by what the object decrypts to.
func (w *Worker) object(ctx context.Context, o journal.Object, rekey rekeyFunc, mac cipher.AEAD, edge bool) (done, error) {
	buf := w.buffer()
	defer w.buffers.Put(buf)
	src, info, err := store.ReadAll(ctx, w.Media, o.From, o.ETag, MaxObject, *buf)
	if errors.Is(err, store.ErrPrecondition) {
		return done{}, ErrStale
	}
	if err != nil {
		return done{}, err
	}
	*buf = src
	r, err := rekey(o, src)
	if err != nil {
		return done{}, err
	}
	if r.evidence.Verdict() == evidence.Wrong {
		return done{}, fmt.Errorf("%w: %d structural checks of the clear media failed", ErrWrongKey, r.evidence.Against)
	}
	put, err := store.PutOnce(ctx, w.Media, o.To, r.out, info.Attributes)
	if errors.Is(err, store.ErrPrecondition) {
		return done{}, fmt.Errorf("%w: %s", ErrForeign, o.To)
	}
	if err != nil {
		return done{}, err
	}
	if edge || w.ReadBack {
		if err := w.readBack(ctx, o.To, put.ETag, r.out); err != nil {
			return done{}, err
		}
	}
	return done{
		record: journal.ObjectRecord{
			Key: o.To, Size: int64(len(r.out)), CRC64NVME: store.CRC64NVME(r.out),
			Digest: mac.Seal(nil, nil, nil, r.clear), Grown: r.grown,
		},
		evidence: r.evidence, byKID: r.byKID, findings: r.findings,
	}, nil
}

func (w *Worker) readBack(ctx context.Context, k, etag string, want []byte) error {
	buf := w.buffer()
	defer w.buffers.Put(buf)
	got, _, err := store.ReadAll(ctx, w.Media, k, etag, MaxObject, *buf)
	if err != nil {
		return fmt.Errorf("read back %s: %w", k, err)
	}
	*buf = got
	if string(got) != string(want) {
		return fmt.Errorf("read back %s: %w", k, ErrReadBack)
	}
	return nil
}

func (w *Worker) buffer() *[]byte {
	if b, ok := w.buffers.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

// loadInit reads and parses the init section that the plan pinned.
func (w *Worker) loadInit(ctx context.Context, o catalog.Object) ([]byte, error) {
	b, _, err := store.ReadAll(ctx, w.Media, o.Key, o.ETag, catalog.MaxInit, nil)
	if errors.Is(err, store.ErrPrecondition) {
		err = ErrStale
	}
	if err != nil {
		return nil, &objectError{object: o.Key, err: err}
	}
	return b, nil
}
