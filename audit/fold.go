package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed-6133abe0/rekey/store"
)

// growth is a tree with entries behind it. Everything in it follows from the two:
// whoever does it again, after a crash or beside another, writes the same bytes.
type growth struct {
	old     tlog.Tree
	entries [][]byte
	base    tlog.HashReader
	added   map[int64]tlog.Hash // by index of stored hash
}

func grow(base tlog.HashReader, old tlog.Tree, entries [][]byte) (*growth, error) {
	g := &growth{old: old, entries: entries, base: base, added: map[int64]tlog.Hash{}}
	for i, e := range entries {
		n := old.N + int64(i)
		hashes, err := tlog.StoredHashes(n, e, g)
		if err != nil {
			return nil, err
		}
		at := tlog.StoredHashIndex(0, n)
		for j, h := range hashes {
			g.added[at+int64(j)] = h
		}
	}
	return g, nil
}

// ReadHashes implements tlog.HashReader: the new hashes and, from the old tree,
// proven ones.
func (g *growth) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	var missing []int64
	var places []int
	for i, x := range indexes {
		h, ok := g.added[x]
		if !ok {
			missing, places = append(missing, x), append(places, i)
		}
		out[i] = h
	}
	old, err := g.base.ReadHashes(missing)
	if err != nil {
		return nil, err
	}
	for i, h := range old {
		out[places[i]] = h
	}
	return out, nil
}

func (g *growth) size() int64 { return g.old.N + int64(len(g.entries)) }

// finish puts what is pending in the tree: tiles and bundles, the checkpoint,
// and then the state, which makes it so.
func (q *Sequencer) finish(ctx context.Context, h *held) error {
	old := tlog.Tree{}
	if h.st.Checkpoint != "" {
		c, err := OpenCheckpoint([]byte(h.st.Checkpoint), q.o.Signer.Verifier())
		if err != nil {
			return fmt.Errorf("read %s: %w", stateName, err)
		}
		old = c.tree()
	}
	g, err := grow(newHashes(ctx, q.o.Store, old), old, h.st.Pending)
	if err != nil {
		return fmt.Errorf("grow audit tree: %w", err)
	}
	if err := q.writeTree(ctx, g); err != nil {
		return err
	}
	signed, err := q.sign(ctx, g)
	if err != nil {
		return err
	}
	h.st.Checkpoint, h.st.Pending = string(signed), nil
	if err := q.save(ctx, h); err != nil {
		return err
	}
	return q.dropPartial(ctx, old.N, g.size())
}

func (q *Sequencer) writeTree(ctx context.Context, g *growth) error {
	bundles, err := q.bundles(ctx, g)
	if err != nil {
		return err
	}
	tiles := tlog.NewTiles(tileHeight, g.old.N, g.size())
	for _, t := range tiles {
		data, err := tlog.ReadTileData(t, g)
		if err != nil {
			return fmt.Errorf("grow audit tree: %w", err)
		}
		bundles = append(bundles, file{tileName(t), data})
	}
	return inParallel(ctx, len(bundles), readWidth, func(ctx context.Context, i int) error {
		return putSame(ctx, q.o.Store, bundles[i].name, bundles[i].body, "application/octet-stream")
	})
}

type file struct {
	name string
	body []byte
}

// bundles are the entry bundles that the new entries fill or begin. The last one
// of the old tree is held against the tree before it is written on.
func (q *Sequencer) bundles(ctx context.Context, g *growth) ([]file, error) {
	entries, first := g.entries, g.old.N/tileWidth
	if w := g.old.N % tileWidth; w > 0 {
		t := tileOf(bundle, first, g.old.N)
		old, err := readBundle(ctx, q.o.Store, t)
		if err != nil {
			return nil, err
		}
		for i, e := range old {
			h, err := g.ReadHashes([]int64{tlog.StoredHashIndex(0, first*tileWidth+int64(i))})
			if err != nil {
				return nil, fmt.Errorf("grow audit tree: %w", err)
			}
			if h[0] != tlog.RecordHash(e) {
				return nil, corrupt(tileName(t), "entry %d is not the one in the tree", i)
			}
		}
		entries = append(slices.Clip(old), entries...)
	}
	var out []file
	for part := range slices.Chunk(entries, tileWidth) {
		out = append(out, file{tileName(tileOf(bundle, first, g.size())), encodeBundle(part)})
		first++
	}
	return out, nil
}

// sign makes the checkpoint of the grown tree and keeps it for good. Where one of
// that size stands already it is the one, or nothing is signed.
func (q *Sequencer) sign(ctx context.Context, g *growth) ([]byte, error) {
	root, err := tlog.TreeHash(g.size(), g)
	if err != nil {
		return nil, fmt.Errorf("grow audit tree: %w", err)
	}
	c := Checkpoint{Origin: q.o.Origin, Size: g.size(), Root: root}
	name := historyName(c.Size)
	standing, _, err := store.ReadAll(ctx, q.o.Store, name, "", maxCheckpoint, nil)
	if err == nil {
		was, err := OpenCheckpoint(standing, q.o.Signer.Verifier())
		if err != nil || was.Root != c.Root {
			return nil, fmt.Errorf("sign checkpoint: %w", corrupt(name, "is not the checkpoint of this tree: the log was forked"))
		}
		return standing, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	signed, err := note.Sign(&note.Note{Text: c.text()}, q.o.Signer)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return signed, putSame(ctx, q.o.Store, name, signed, "text/plain; charset=utf-8")
}

// publish moves the newest checkpoint on, never back. Where a crash kept it from
// being published, whoever folds next does it.
func (q *Sequencer) publish(ctx context.Context) error {
	for try := 0; q.published < q.seen.Size; try++ {
		standing, info, err := store.ReadAll(ctx, q.o.Store, latestName, "", maxCheckpoint, nil)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("publish checkpoint: %w", err)
		}
		if c, err := OpenCheckpoint(standing, q.o.Signer.Verifier()); err == nil && c.Size >= q.seen.Size {
			q.published = c.Size
			return nil
		}
		_, err = q.o.Store.Put(ctx, latestName, q.seen.Signed, store.PutOptions{
			IfMatch: info.ETag, CreateOnly: info.ETag == "", Attributes: store.Attributes{ContentType: "text/plain; charset=utf-8"},
		})
		if err == nil {
			q.published = q.seen.Size
		} else if try == 3 || !errors.Is(err, store.ErrPrecondition) {
			return fmt.Errorf("publish checkpoint: %w", err)
		}
	}
	return nil
}

// dropPartial removes partial tiles whose full ones stand by now. One that is
// left behind does no harm.
func (q *Sequencer) dropPartial(ctx context.Context, from, to int64) error {
	for level := bundle; level < 8; level++ {
		shift := tileHeight * max(level, 0)
		first, end := from>>shift/tileWidth, to>>shift/tileWidth
		if from>>shift%tileWidth == 0 || first == end {
			continue // it was never partial, or still is
		}
		prefix := tileName(tileOf(level, first, to)) + ".p/"
		for info, err := range q.o.Store.List(ctx, prefix) {
			if err == nil {
				err = q.o.Store.Delete(ctx, info.Key)
			}
			if errors.Is(err, store.ErrDenied) {
				return nil // not allowed to delete: as well
			}
			if err != nil {
				return fmt.Errorf("tidy audit tree: %w", err)
			}
		}
	}
	return nil
}

func historyName(size int64) string { return fmt.Sprintf("%s%020d", historyPrefix, size) }

// putSame creates an object; one with the same bytes may stand already.
func putSame(ctx context.Context, s store.Store, name string, body []byte, kind string) error {
	if _, err := store.PutOnce(ctx, s, name, body, store.Attributes{ContentType: kind}); err != nil {
		return fmt.Errorf("write audit tree: %w", err)
	}
	return nil
}
