package rotation

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/store"
)

// The classes of errors that a rotation gives as a whole.
var (
	// ErrNothing: no asset depends on the key, and every asset was understood.
	ErrNothing = errors.New("nothing depends on that key")
	// ErrUnknown: no asset is known to depend on the key, and there are assets
	// of which the keys are not known.
	ErrUnknown = errors.New("nothing is known to depend on that key")
	// ErrNoHandover: keys that a key server has change, and nobody is named to
	// receive them.
	ErrNoHandover = errors.New("no hand-over configured for new keys that players ask a server for")
	// ErrPlanning: the rotation died while it was planned; it touched nothing.
	ErrPlanning = errors.New("planning did not finish")
	// ErrLeased: somebody else drives the rotation.
	ErrLeased = errors.New("somebody else drives the rotation")
	// ErrStale: an entry manifest is not what the plan saw.
	ErrStale = errors.New("entry manifest was replaced after the plan")
	// ErrPaused: nothing of the rotation is worked or published until it is resumed.
	ErrPaused = errors.New("the rotation is paused")
	// ErrCancelled: the rotation was given up.
	ErrCancelled = errors.New("the rotation is cancelled")
	// ErrFenced: the asset was given up before its manifests were flipped.
	ErrFenced = errors.New("the asset is cancelled; its manifests stay as they are")
	// ErrPhase: what is asked cannot be done to a rotation that has come so far.
	ErrPhase = errors.New("the rotation does not stand where that can be done")
)

// Queue takes parts. queue.ErrUnavailable means that the part may not have been
// taken; queueing it again is harmless.
type Queue interface {
	Enqueue(ctx context.Context, queue string, p queue.Part) error
}

// Receiver acknowledges new keys before any manifest names them: an error means
// that it did not.
type Receiver interface {
	Receive(ctx context.Context, keys []Handed) error
}

// Handed is one new key on its way to whoever serves it to players.
type Handed struct {
	KID    key.KID
	Key    key.ContentKey
	Asset  string
	Scheme string
}

// Engine runs rotations. Media, Control, Ring, Openings, Audit, Clock and Log must be
// set; Queue only to drive.
type Engine struct {
	Media store.Store
	// Root names the media root in the index. Empty: it is not said.
	Root    string
	Control store.Store
	Ring    *keyring.Ring
	Audit   *audit.Log
	// Openings is what the ring asks before it opens a compromised key.
	Openings *Openings
	Queue    Queue
	// Receiver gets the new CENC keys; nil with HandoverNone unset stops a
	// rotation of CENC media before it begins.
	Receiver     Receiver
	HandoverNone bool
	// KeySource makes the new CENC keys. Nil: they are random ones of the ring's.
	KeySource KeySource
	// Space says where references of manifests lead.
	Space catalog.Space
	// NewKeyURIs are templates, one a scheme, for the URIs of new HLS keys whose
	// old ones lead out of the media root; each has catalog.KIDInTemplate in it.
	NewKeyURIs []string
	Clock      func() time.Time
	Log        *slog.Logger
	Actor      string
	// Owner names this process in leases.
	Owner string
	// Lease is how long a driver that says nothing is thought alive; 0 means
	// 30 s.
	Lease time.Duration
	// Window bounds the parts that are in the queue at once; 0 means 256.
	Window int
	// PartBytes bounds a part; 0 means 64 MiB. A single object is never split.
	PartBytes int64
	// PartObjects bounds the objects of a part; 0 means 64.
	PartObjects int
}

// Options are how the catalogue reads references.
func (e *Engine) Options() catalog.Options {
	renews := func(uri string) bool {
		_, ok := newKeyURI(e.NewKeyURIs, uri, key.KID{})
		return ok
	}
	return catalog.Options{Space: e.Space, Keys: e.Ring, Renews: renews, Root: e.Root}
}

// KIDsOfURI are the KIDs that an HLS key URI may go by, an absolute one or an
// object of the media root: as the keyring knows it, as the scan found it, and as
// it is named while neither does.
func (e *Engine) KIDsOfURI(ctx context.Context, uri string) ([]key.KID, error) {
	uri = catalog.Normal(uri)
	if k, err := e.Space.Resolve("", uri); err == nil {
		uri = k
	}
	kids, err := e.Index().KIDsOfURI(ctx, uri)
	if err != nil {
		return nil, err
	}
	kid, found, err := e.Ring.KIDOfURI(ctx, uri)
	if err != nil {
		return nil, err
	}
	if found {
		kids = append(kids, kid)
	}
	return append(kids, key.KIDFromURI(uri)), nil
}

// Index is the catalogue's index in the control prefix.
func (e *Engine) Index() *catalog.Index { return catalog.NewIndex(e.Control) }

// Journal is the journal in the control prefix.
func (e *Engine) Journal() *journal.Journal { return journal.New(e.Control) }

func (e *Engine) lease() time.Duration { return orDefault(e.Lease, 30*time.Second) }
func (e *Engine) window() int          { return orDefault(e.Window, 256) }
func (e *Engine) partBytes() int64     { return orDefault(e.PartBytes, 64<<20) }
func (e *Engine) partObjects() int     { return orDefault(e.PartObjects, 64) }

func orDefault[T int | int64 | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// queueName is where a rotation's parts wait: a compromise outranks a schedule.
func queueName(k journal.Kind) string {
	if k == journal.Compromise {
		return queue.Urgent
	}
	return queue.Planned
}
