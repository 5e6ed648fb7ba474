package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed-6133abe0/rekey/store"
)

// treePass goes over the bundles once. The tree is computed twice, from the
// entries and from the hashes in the lowest tiles: where the two differ, the one
// with the signed root shows what was changed.
type treePass struct {
	*verification
	entries, tiles frontier
	// differ are the bundles whose entries are not those of their tile.
	differ []int64
	// upper are tiles above the lowest, not as the entries make them.
	upper     map[string]bool
	stored    map[int]storedTile // by level, the one read last
	history   func() (store.Info, error, bool)
	due       store.Info // the next of the history
	dueSize   int64
	checks    []Checkpoint // held ones still to come
	uncertain bool         // a bundle and its tile are both unreadable: there is no root
}

type storedTile struct {
	n    int64
	data []byte // nil: it does not read
}

func (v *verification) tree() error {
	p := &treePass{verification: v, upper: map[string]bool{}, stored: map[int]storedTile{}}
	p.entries.tiled = p.compare
	next, stop := iter.Pull2(v.store.List(v.ctx, historyPrefix))
	defer stop()
	p.history = next
	for _, h := range v.o.Held {
		if h.Size <= v.size {
			p.checks = append(p.checks, h)
		}
	}
	if err := p.nextHistory(); err != nil {
		return err
	}
	if err := p.check(); err != nil { // checkpoints of the empty tree
		return err
	}
	for at := int64(0); at < v.size; at += tileWidth {
		if err := p.bundle(at / tileWidth); err != nil {
			return err
		}
	}
	if err := p.blame(); err != nil {
		return err
	}
	return p.leftovers()
}

// bundle adds one bundle's entries to the tree. Where they do not read, the
// tile's hashes stand in for them.
func (p *treePass) bundle(n int64) error {
	t := tileOf(bundle, n, p.size)
	entries, err := readBundle(p.ctx, p.store, t)
	if err = p.soft(err, tileName(t)); err != nil {
		return err
	}
	tile, err := p.load(0, n)
	if err != nil {
		return err
	}
	if entries == nil && tile == nil {
		p.uncertain = true
	}
	same := true
	for i := range t.W {
		var fromTile, fromEntry tlog.Hash
		if tile != nil {
			copy(fromTile[:], tile[i*tlog.HashSize:])
			fromEntry = fromTile
		}
		if entries != nil {
			fromEntry = tlog.RecordHash(entries[i])
		}
		if tile == nil {
			fromTile = fromEntry
		}
		same = same && fromTile == fromEntry
		if err := errors.Join(p.entries.add(fromEntry), p.tiles.add(fromTile)); err != nil {
			return err
		}
		if err := p.check(); err != nil {
			return err
		}
	}
	if !same {
		p.differ = append(p.differ, n)
	}
	return nil
}

// soft turns what is wrong with an object into a finding.
func (p *treePass) soft(err error, object string) error {
	if errors.Is(err, store.ErrNotFound) || damaged(err) {
		p.out.add(BadTree, object, "%v", err)
		return nil
	}
	return err
}

// load reads a stored tile, once: hashes are asked for in order.
func (p *treePass) load(level int, n int64) ([]byte, error) {
	if t, ok := p.stored[level]; ok && t.n == n {
		return t.data, nil
	}
	t := tileOf(level, n, p.size)
	data, err := readTile(p.ctx, p.store, t)
	if err = p.soft(err, tileName(t)); err != nil {
		return nil, err
	}
	p.stored[level] = storedTile{n, data}
	return data, nil
}

// compare holds a hash that the entries make against the stored tile.
func (p *treePass) compare(level int, n int64, h tlog.Hash) error {
	if level == 0 {
		return nil // bundle does
	}
	data, err := p.load(level, n/tileWidth)
	if err != nil || data == nil {
		return err
	}
	at := int(n%tileWidth) * tlog.HashSize
	if at+tlog.HashSize > len(data) || tlog.Hash(data[at:at+tlog.HashSize]) != h {
		p.upper[tileName(tileOf(level, n/tileWidth, p.size))] = true
	}
	return nil
}

// check holds the checkpoints of the size that the tree has now against it.
func (p *treePass) check() error {
	size := p.entries.size
	if (len(p.checks) == 0 || p.checks[0].Size != size) && p.dueSize != size {
		return nil
	}
	var roots []tlog.Hash
	for _, f := range []*frontier{&p.entries, &p.tiles} {
		root, err := f.root()
		if err != nil {
			return err
		}
		roots = append(roots, root)
	}
	for len(p.checks) > 0 && p.checks[0].Size == size {
		if h := p.checks[0]; h.Root != roots[0] && h.Root != roots[1] && !p.uncertain {
			p.out.add(Forked, heldName(h), "the log's first %d entries have another hash", size)
		}
		p.checks = p.checks[1:]
	}
	for p.dueSize == size {
		if err := p.kept(roots); err != nil {
			return err
		}
		if err := p.nextHistory(); err != nil {
			return err
		}
	}
	return nil
}

// kept checks one checkpoint of the log's own history.
func (p *treePass) kept(roots []tlog.Hash) error {
	b, _, err := store.ReadAll(p.ctx, p.store, p.due.Key, "", maxCheckpoint, nil)
	if errors.Is(err, store.ErrNotFound) || damaged(err) {
		p.out.add(BadCheckpoint, p.due.Key, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	c, err := OpenCheckpoint(b, p.o.Verifier)
	switch {
	case err != nil:
		p.out.add(BadCheckpoint, p.due.Key, "%v", err)
	case c.Size != p.dueSize || c.Origin != p.o.Origin:
		p.out.add(BadCheckpoint, p.due.Key, "is of another size or origin")
	case c.Root != roots[0] && c.Root != roots[1] && !p.uncertain:
		p.out.add(Forked, p.due.Key, "the log's first %d entries have another hash", c.Size)
	}
	return nil
}

// nextHistory moves on to the next kept checkpoint.
func (p *treePass) nextHistory() error {
	for {
		info, err, more := p.history()
		if p.dueSize = -1; !more {
			return nil
		}
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(strings.TrimPrefix(info.Key, historyPrefix), 10, 64)
		if err != nil || historyName(size) != info.Key {
			p.out.add(Inserted, info.Key, "is not the name of a checkpoint")
			continue
		}
		p.due, p.dueSize = info, size
		return nil
	}
}

// blame says what differs from the signed tree, now that both roots are known.
func (p *treePass) blame() error {
	fromEntries, err := p.entries.root()
	if err != nil {
		return err
	}
	fromTiles, err := p.tiles.root()
	if err != nil {
		return err
	}
	want := p.out.Checkpoint
	good := want.Size == 0 || fromEntries == want.Root
	for _, n := range p.differ {
		b, t := tileName(tileOf(bundle, n, p.size)), tileName(tileOf(0, n, p.size))
		switch {
		case good:
			p.out.add(BadTree, t, "is not of the tree that was signed")
		case fromTiles == want.Root:
			p.out.add(Changed, b, "entries are not those that were signed")
		default:
			p.out.add(Changed, b, "entries are not those of %s, and neither are those that were signed", t)
		}
	}
	if good {
		for name := range p.upper {
			p.out.add(BadTree, name, "is not of the tree that was signed")
		}
	}
	if !good && fromTiles != want.Root && !p.uncertain {
		p.out.add(Forked, latestName, "the log's %d entries have another hash than was signed", want.Size)
	}
	return nil
}

// leftovers are partial tiles of earlier checkpoints, which must be beginnings of
// those of this one.
func (p *treePass) leftovers() error {
	for level := bundle; level < 8; level++ {
		n := p.size >> (tileHeight * max(level, 0)) / tileWidth
		now := tileOf(level, n, p.size)
		if now.W == 0 {
			continue
		}
		whole, err := readTile(p.ctx, p.store, now)
		if err != nil {
			continue // found already
		}
		full := now
		full.W = tileWidth
		for info, err := range p.store.List(p.ctx, tileName(full)+".p/") {
			if err != nil {
				return err
			}
			if err := p.leftover(info.Key, full, whole); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *treePass) leftover(name string, t tlog.Tile, whole []byte) error {
	w, err := strconv.Atoi(name[strings.LastIndexByte(name, '/')+1:])
	if t.W = w; err != nil || w < 1 || w >= tileWidth || tileName(t) != name {
		p.out.add(Inserted, name, "is not the name of a tile")
		return nil
	}
	b, _, err := store.ReadAll(p.ctx, p.store, name, "", maxBundle, nil)
	if errors.Is(err, store.ErrNotFound) {
		return nil // a full tile stands by now
	}
	if err != nil && !damaged(err) {
		return err
	}
	n := min(len(b), len(whole)) // a later one goes on
	if err != nil || string(b[:n]) != string(whole[:n]) || !rightWidth(t, b) {
		p.out.add(BadTree, name, "is not the beginning of the tile that followed it")
	}
	return nil
}

func rightWidth(t tlog.Tile, b []byte) bool {
	if t.L != bundle {
		return len(b) == t.W*tlog.HashSize
	}
	entries, err := parseBundle("", b)
	return err == nil && len(entries) == t.W
}

// walkEntries yields the tree's entries in order, reading bundles ahead.
func (v *verification) walkEntries(each func(at int64, batch [][]byte) error) error {
	const ahead = 8
	end := (v.size + tileWidth - 1) / tileWidth
	for first := int64(0); first < end; first += ahead {
		n := int(min(ahead, end-first))
		bundles := make([][][]byte, n)
		err := inParallel(v.ctx, n, ahead, func(ctx context.Context, i int) error {
			entries, err := readBundle(ctx, v.store, tileOf(bundle, first+int64(i), v.size))
			if errors.Is(err, store.ErrNotFound) || damaged(err) {
				return nil // the pass over the tree has found it
			}
			bundles[i] = entries
			return err
		})
		if err != nil {
			return fmt.Errorf("read audit tree: %w", err)
		}
		for i, b := range bundles {
			if err := each((first+int64(i))*tileWidth, b); err != nil {
				return err
			}
		}
	}
	return nil
}
