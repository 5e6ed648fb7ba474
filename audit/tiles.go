package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed-6133abe0/rekey/store"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	maxTile    = tileWidth * tlog.HashSize
	maxBundle  = tileWidth * (maxEntry + 2)
	bundle     = -1 // the level of entry bundles
)

// tileName is where a tile stands (c2sp.org/tlog-tiles), or an entry bundle.
func tileName(t tlog.Tile) string {
	rest := strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", t.H))
	return logPrefix + "tile/" + strings.Replace(rest, "data/", "entries/", 1)
}

// tileOf is the level's tile n in a tree of the given size, as wide as it is
// there; a width of 0 says that there is none.
func tileOf(level int, n, size int64) tlog.Tile {
	hashes := size
	if level > 0 {
		hashes = size >> (tileHeight * level)
	}
	return tlog.Tile{H: tileHeight, L: level, N: n, W: int(min(tileWidth, max(0, hashes-n*tileWidth)))}
}

// readTile reads a tile or bundle. A partial one may have given way to the full
// one; the beginning of that is the same.
func readTile(ctx context.Context, s store.Getter, t tlog.Tile) ([]byte, error) {
	limit := int64(maxTile)
	if t.L == bundle {
		limit = maxBundle
	}
	b, _, err := store.ReadAll(ctx, s, tileName(t), "", limit, nil)
	if full := t; t.W < tileWidth && errors.Is(err, store.ErrNotFound) {
		full.W = tileWidth
		if whole, _, fullErr := store.ReadAll(ctx, s, tileName(full), "", limit, nil); fullErr == nil {
			b, err = whole, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read audit tree: %w", err)
	}
	if t.L == bundle {
		return b, nil
	}
	if len(b) < t.W*tlog.HashSize || len(b)%tlog.HashSize != 0 {
		return nil, corrupt(tileName(t), "%d bytes, want %d hashes", len(b), t.W)
	}
	return b[:t.W*tlog.HashSize], nil
}

// readBundle reads a bundle's entries.
func readBundle(ctx context.Context, s store.Getter, t tlog.Tile) ([][]byte, error) {
	b, err := readTile(ctx, s, t)
	if err != nil {
		return nil, err
	}
	entries, err := parseBundle(tileName(t), b)
	if err == nil && (len(entries) < t.W || len(entries) != t.W && len(entries) != tileWidth) {
		err = corrupt(tileName(t), "%d entries, want %d", len(entries), t.W)
	}
	if err != nil {
		return nil, err
	}
	return entries[:t.W], nil
}

// parseBundle reads entries, each behind its length in two bytes.
func parseBundle(object string, b []byte) ([][]byte, error) {
	var out [][]byte
	for at := 0; at < len(b); {
		if len(b)-at < 2 {
			return nil, &Error{Object: object, Offset: int64(at), Reason: "ends in a length", Class: ErrCorrupt}
		}
		n := int(binary.BigEndian.Uint16(b[at:]))
		if n == 0 || len(b)-at-2 < n || len(out) == tileWidth {
			return nil, &Error{Object: object, Offset: int64(at), Reason: "entry is empty, cut or one too many", Class: ErrCorrupt}
		}
		out = append(out, b[at+2:at+2+n:at+2+n])
		at += 2 + n
	}
	return out, nil
}

func encodeBundle(entries [][]byte) []byte {
	var b []byte
	for _, e := range entries {
		b = binary.BigEndian.AppendUint16(b, uint16(len(e))) //nolint:gosec // maxEntry fits
		b = append(b, e...)
	}
	return b
}

// tileReader reads tiles for tlog, which checks them against the tree's hash.
// Tiles read once are kept: it lives for one pass.
type tileReader struct {
	ctx  context.Context
	from store.Getter
	kept map[tlog.Tile][]byte
}

func newHashes(ctx context.Context, s store.Getter, tree tlog.Tree) tlog.HashReader {
	if tree.N == 0 {
		return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
			if len(indexes) > 0 {
				return nil, errors.New("the tree is empty")
			}
			return nil, nil
		})
	}
	inner := tlog.TileHashReader(tree, &tileReader{ctx: ctx, from: s, kept: map[tlog.Tile][]byte{}})
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		if len(indexes) == 0 {
			return nil, nil
		}
		return inner.ReadHashes(indexes)
	})
}

// Height implements tlog.TileReader.
func (r *tileReader) Height() int { return tileHeight }

// ReadTiles implements tlog.TileReader.
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		b, ok := r.kept[t]
		if !ok {
			var err error
			if b, err = readTile(r.ctx, r.from, t); err != nil {
				return nil, err
			}
		}
		out[i] = b
	}
	return out, nil
}

// SaveTiles implements tlog.TileReader.
func (r *tileReader) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	if len(r.kept) > 1024 {
		clear(r.kept)
	}
	for i, t := range tiles {
		r.kept[t] = data[i]
	}
}
