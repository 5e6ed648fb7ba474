package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed-6133abe0/rekey/store"
)

// FindingKind says what is wrong.
type FindingKind string

// Kinds of findings.
const (
	Changed       FindingKind = "changed"    // an object is not what was sequenced
	Removed       FindingKind = "removed"    // an object that was sequenced, or that others follow, is gone
	Reordered     FindingKind = "reordered"  // an entry of a stream comes where another should
	Inserted      FindingKind = "inserted"   // an object stands where no writer writes
	Truncated     FindingKind = "truncated"  // a held checkpoint has more records than the log
	Forked        FindingKind = "forked"     // a signed checkpoint is of another log
	BadCheckpoint FindingKind = "checkpoint" // a checkpoint is missing, not signed or not of this tree
	BadTree       FindingKind = "tree"       // a tile or bundle is missing, damaged or not of this tree
)

// Finding is one thing that is wrong with the log.
type Finding struct {
	Kind   FindingKind `json:"kind"`
	Object string      `json:"object"` // name in the control store, or the held checkpoint
	Reason string      `json:"reason"`
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.Kind, f.Object, f.Reason) }

// maxFindings bounds what a Verified lists; it counts them all.
const maxFindings = 1000

// VerifyOptions say what the log is held against.
type VerifyOptions struct {
	// Verifier checks signatures: the log's public key, as its holder has it.
	Verifier note.Verifier
	// Origin is the first line of checkpoints. Zero: the verifier's name.
	Origin string
	// Held are checkpoints that were kept outside the store. Without any, a log
	// that was replaced as a whole by an older state of itself is not found out.
	Held []Checkpoint
	// Each is called with every record that reads, for what is to be held against
	// the log. Those of one stream come in their order. nil: nobody asks.
	Each func(Record)
	// streams bounds how many streams one pass over the records looks at.
	streams int
}

// Verified is the result of a verification.
type Verified struct {
	Checkpoint  Checkpoint `json:"-"`
	Size        int64      `json:"size"`        // entries in the tree
	Records     int64      `json:"records"`     // of them, records: the others close a stream
	Unsequenced int64      `json:"unsequenced"` // records that stand but are not in the tree yet
	Held        int        `json:"held"`        // checkpoints that the log was held against
	Count       int        `json:"count"`       // findings
	Findings    []Finding  `json:"findings"`    // the first thousand of them
}

// Good reports whether nothing was found.
func (v *Verified) Good() bool { return v.Count == 0 }

func (v *Verified) add(kind FindingKind, object, format string, args ...any) {
	v.Count++
	if len(v.Findings) < maxFindings {
		v.Findings = append(v.Findings, Finding{Kind: kind, Object: object, Reason: fmt.Sprintf(format, args...)})
	}
}

// verification is one run of Verify.
type verification struct {
	ctx   context.Context
	store store.Reader
	o     VerifyOptions
	size  int64 // of the tree that is verified
	out   Verified
	open  map[string]bool // streams that the sequencer follows
}

// Verify recomputes the tree from its bundles, holds the published checkpoint and
// the held ones against it, and every object of the streams against the bundles.
// What is wrong is in the result; an error means that the store failed and that
// the log is not verified. A sequencer and writers may be at work meanwhile.
//
// It holds at most a few bundles, 256 hashes of each level of the tree and a
// bounded number of streams; where there are more streams, it goes over the
// bundles more than once.
func Verify(ctx context.Context, s store.Reader, o VerifyOptions) (*Verified, error) {
	o.Origin = cmp.Or(o.Origin, o.Verifier.Name())
	o.streams = cmp.Or(o.streams, 1<<17)
	o.Held = slices.Clone(o.Held)
	slices.SortStableFunc(o.Held, func(a, b Checkpoint) int { return cmp.Compare(a.Size, b.Size) })
	v := &verification{ctx: ctx, store: s, o: o}
	v.out.Held = len(o.Held)
	for _, step := range []func() error{v.checkpoint, v.state, v.tree, v.records} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("verify audit log: %w", err)
		}
	}
	v.out.Size = v.size
	return &v.out, nil
}

// checkpoint decides which tree is verified: the published checkpoint's, or where
// there is none to trust, the largest held one's.
func (v *verification) checkpoint() error {
	v.heldSigned()
	b, _, err := store.ReadAll(v.ctx, v.store, latestName, "", maxCheckpoint, nil)
	missing := errors.Is(err, store.ErrNotFound)
	if err != nil && !missing && !damaged(err) {
		return err
	}
	var c Checkpoint
	if err == nil {
		c, err = OpenCheckpoint(b, v.o.Verifier)
	}
	if err == nil && c.Origin != v.o.Origin {
		err = fmt.Errorf("origin is %q, want %q", c.Origin, v.o.Origin)
	}
	n := len(v.o.Held)
	switch {
	case err == nil:
		v.out.Checkpoint = c
	case n > 0:
		v.out.add(BadCheckpoint, latestName, "%v", err)
		v.out.Checkpoint = v.o.Held[n-1]
	case missing:
		return v.unpublished()
	default:
		v.out.add(BadCheckpoint, latestName, "%v", err)
	}
	v.size = v.out.Checkpoint.Size
	for _, h := range v.o.Held {
		if h.Size > v.size {
			v.out.add(Truncated, heldName(h), "the log has %d entries", v.size)
		}
	}
	return nil
}

// unpublished: no checkpoint and none held. A log that was never sequenced has no
// tree either.
func (v *verification) unpublished() error {
	for info, err := range v.store.List(v.ctx, logPrefix+"tile/") {
		if err != nil {
			return err
		}
		v.out.add(BadCheckpoint, latestName, "is missing, though %s stands", info.Key)
		return nil
	}
	return nil
}

// heldSigned looks at the held checkpoints alone; those that are not the log's
// say nothing about it.
func (v *verification) heldSigned() {
	v.o.Held = slices.DeleteFunc(v.o.Held, func(h Checkpoint) bool {
		c, err := OpenCheckpoint(h.Signed, v.o.Verifier)
		switch {
		case err != nil:
			v.out.add(BadCheckpoint, heldName(h), "%v", err)
		case c.Size != h.Size || c.Root != h.Root:
			v.out.add(BadCheckpoint, heldName(h), "is not what was signed")
		case c.Origin != v.o.Origin:
			v.out.add(BadCheckpoint, heldName(h), "origin is %q, want %q", c.Origin, v.o.Origin)
		default:
			return false
		}
		return true
	})
}

func heldName(c Checkpoint) string { return fmt.Sprintf("held checkpoint of %d entries", c.Size) }

// state is the sequencer's own memory. It proves nothing, but one that was set
// back makes a fork of the next pass.
func (v *verification) state() error {
	st, _, err := loadState(v.ctx, v.store)
	if errors.Is(err, ErrCorrupt) || damaged(err) {
		v.out.add(BadCheckpoint, stateName, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	v.open = map[string]bool{}
	for _, c := range st.Streams {
		v.open[c.Stream] = true
	}
	var c Checkpoint
	if st.Checkpoint != "" {
		if c, err = OpenCheckpoint([]byte(st.Checkpoint), v.o.Verifier); err != nil {
			v.out.add(BadCheckpoint, stateName, "%v", err)
			return nil
		}
	}
	// Read after the published one, which is written later.
	if c.Size < v.out.Checkpoint.Size || c.Size == v.out.Checkpoint.Size && c.Root != v.out.Checkpoint.Root && c.Size > 0 {
		v.out.add(BadCheckpoint, stateName, "is at %d entries, the log is at %d", c.Size, v.out.Checkpoint.Size)
		v.open = nil
	}
	return nil
}

// damaged: the object stands but cannot be what it should.
func damaged(err error) bool {
	return errors.Is(err, store.ErrTooLarge) || errors.Is(err, store.ErrArchived) || errors.Is(err, ErrCorrupt)
}

// frontier computes a tree's hash as its leaves come. It tells each hash that a
// tile holds.
type frontier struct {
	size  int64
	stack []tlog.Hash // of complete subtrees, the largest first
	tiled func(level int, n int64, h tlog.Hash) error
}

func (f *frontier) add(h tlog.Hash) error {
	level, n := 0, f.size
	if err := f.tell(0, n, h); err != nil {
		return err
	}
	for ; n&1 == 1; n >>= 1 {
		top := len(f.stack) - 1
		h = tlog.NodeHash(f.stack[top], h)
		f.stack = f.stack[:top]
		if level++; level%tileHeight == 0 {
			if err := f.tell(level/tileHeight, n>>1, h); err != nil {
				return err
			}
		}
	}
	f.stack = append(f.stack, h)
	f.size++
	return nil
}

func (f *frontier) tell(level int, n int64, h tlog.Hash) error {
	if f.tiled == nil {
		return nil
	}
	return f.tiled(level, n, h)
}

func (f *frontier) root() (tlog.Hash, error) {
	if f.size == 0 {
		return tlog.TreeHash(0, nil)
	}
	h := f.stack[len(f.stack)-1]
	for i := len(f.stack) - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.stack[i], h)
	}
	return h, nil
}
