package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed-6133abe0/rekey/audit/strictjson"
	"github.com/seed-6133abe0/rekey/store"
)

var (
	// ErrNotSequenced: the record is not in the tree that was asked for.
	ErrNotSequenced = errors.New("record is not in the signed tree")
	// ErrProof is the class of a proof that proves nothing.
	ErrProof = errors.New("proof does not hold")
)

// maxProof bounds a proof's JSON, in bytes.
const maxProof = 1 << 20

// Proof shows, without the store, that a record is in the log.
type Proof struct {
	Object string `json:"object"` // the record's name in the control store
	Index  int64  `json:"index"`  // in the log
	Entry  []byte `json:"entry"`  // the object's bytes
	// Hashes are the audit path of RFC 6962 §2.1.1.
	Hashes     []tlog.Hash `json:"hashes"`
	Checkpoint string      `json:"checkpoint"` // signed
}

// ProveOptions say for whom a record is proven.
type ProveOptions struct {
	// Verifier checks the published checkpoint: a proof is made from what it
	// signed only.
	Verifier note.Verifier
	// Held are checkpoints that the proof's reader has. The proof is of the largest
	// one; without any, of the published one.
	Held []Checkpoint
}

// Prove makes the proof of the record with an id ([ParseID]). It reads the log's
// bundles until it finds it. Errors: [ErrInvalid] for what is no id,
// [ErrNotSequenced], [ErrCheckpoint] without a valid published checkpoint, [ErrProof] where the
// log does not lead to it, or to the held one; else the store's.
func Prove(ctx context.Context, s store.Reader, id string, o ProveOptions) (Proof, error) {
	object, err := ParseID(id)
	if err != nil {
		return Proof{}, err
	}
	p, err := prove(ctx, s, object, o)
	if err != nil {
		return Proof{}, fmt.Errorf("prove %s: %w", object, err)
	}
	return p, nil
}

func prove(ctx context.Context, s store.Reader, object string, o ProveOptions) (Proof, error) {
	b, _, err := store.ReadAll(ctx, s, latestName, "", maxCheckpoint, nil)
	if errors.Is(err, store.ErrNotFound) {
		return Proof{}, fmt.Errorf("%w: nothing was sequenced: %w", ErrNotSequenced, err)
	}
	if err != nil {
		return Proof{}, err
	}
	latest, err := OpenCheckpoint(b, o.Verifier)
	if err != nil {
		return Proof{}, err
	}
	of := latest
	if len(o.Held) > 0 {
		of = o.Held[0]
		for _, h := range o.Held[1:] {
			if h.Size > of.Size {
				of = h
			}
		}
	}
	if of.Size > latest.Size {
		return Proof{}, fmt.Errorf("%w: %s, the log has %d entries", ErrProof, heldName(of), latest.Size)
	}
	p := Proof{Object: object, Checkpoint: string(of.Signed)}
	if p.Index, p.Entry, err = find(ctx, s, object, of.Size); err != nil {
		return Proof{}, err
	}
	path, err := tlog.ProveRecord(of.Size, p.Index, newHashes(ctx, s, latest.tree()))
	if err != nil {
		return Proof{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	p.Hashes = path
	return p, p.check(of)
}

// find looks for an object in the first entries of the log.
func find(ctx context.Context, s store.Reader, object string, size int64) (int64, []byte, error) {
	stop := errors.New("found")
	index, raw := int64(-1), []byte(nil)
	v := &verification{ctx: ctx, store: s, size: size}
	err := v.walkEntries(func(at int64, batch [][]byte) error {
		for i, b := range batch {
			if e, err := decodeEntry(object, b); err == nil && objectName(e.Stream, e.Seq) == object {
				index, raw = at+int64(i), b
				return stop
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, stop) {
		return 0, nil, err
	}
	if index < 0 {
		return 0, nil, fmt.Errorf("%w of %d entries", ErrNotSequenced, size)
	}
	return index, raw, nil
}

func (p Proof) check(c Checkpoint) error {
	if err := tlog.CheckRecord(p.Hashes, c.Size, c.Root, p.Index, tlog.RecordHash(p.Entry)); err != nil {
		return fmt.Errorf("%w: the record is not the %d. entry of %d: %w", ErrProof, p.Index+1, c.Size, err)
	}
	return nil
}

// ParseProof reads a proof's JSON.
func ParseProof(b []byte) (Proof, error) {
	var p Proof
	if len(b) > maxProof {
		return p, fmt.Errorf("%w: %d bytes, at most %d", ErrProof, len(b), maxProof)
	}
	if err := strictjson.Decode(b, &p); err != nil {
		return p, fmt.Errorf("%w: %w", ErrProof, err)
	}
	if len(p.Hashes) > 64 {
		return p, fmt.Errorf("%w: %d hashes", ErrProof, len(p.Hashes))
	}
	return p, nil
}

// Check returns the record that the proof proves. The checkpoint in it must be
// signed by v, and be one of the held ones where there are any: a signature alone
// does not show that it is not of a fork. Errors are of class [ErrProof] or
// [ErrCheckpoint].
func (p Proof) Check(v note.Verifier, held []Checkpoint) (Entry, error) {
	c, err := OpenCheckpoint([]byte(p.Checkpoint), v)
	if err != nil {
		return Entry{}, fmt.Errorf("check proof: %w", err)
	}
	known := len(held) == 0
	for _, h := range held {
		if h.Size == c.Size && h.Root != c.Root {
			return Entry{}, fmt.Errorf("check proof: %w: its checkpoint of %d entries is not the held one: the log was forked", ErrProof, c.Size)
		}
		known = known || h.Size == c.Size && h.Origin == c.Origin
	}
	if !known {
		return Entry{}, fmt.Errorf("check proof: %w: its checkpoint of %d entries is not held; have it proven for one that is", ErrProof, c.Size)
	}
	if err := p.check(c); err != nil {
		return Entry{}, fmt.Errorf("check proof: %w", err)
	}
	e, err := decodeObject(p.Object, p.Entry)
	if err != nil {
		return Entry{}, fmt.Errorf("check proof: %w: %w", ErrProof, err)
	}
	if e.Record == nil {
		return Entry{}, fmt.Errorf("check proof: %w: not of a record: of the end of a stream", ErrProof)
	}
	return Entry{ID: e.id(), Record: *e.Record}, nil
}

// JSON is the proof as [ParseProof] reads it.
func (p Proof) JSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(p); err != nil {
		return nil, fmt.Errorf("write proof: %w", err)
	}
	return b.Bytes(), nil
}
