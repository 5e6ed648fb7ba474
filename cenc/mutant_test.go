package cenc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// mutant is a real file and where its boxes lie.
type mutant struct {
	media
	changes key.Changes
	newKeys map[key.KID]key.ContentKey
	boxes   []placed
	secret  []span // runs of encrypted bytes, long enough to be told
}

// placed is a box, by a walk that knows nothing of the code under test.
type placed struct {
	at, size int
	typ      string
	within   []int // the boxes around it, by index
}

func newMutant(t testing.TB, m media) mutant {
	t.Helper()
	x := mutant{media: m, changes: newChanges(m.keys)}
	x.newKeys = newKeys(x.changes)
	x.walk(0, len(m.file), nil)
	if len(x.boxes) < 10 {
		t.Fatalf("%s: %d boxes", m.name, len(x.boxes))
	}
	if m.refuse != "" {
		return x
	}
	clear, _ := decryptFile(t, m.name, m.file, m.keys)
	for _, p := range x.boxes {
		if p.typ == "mdat" {
			x.findSecrets(clear, p.at+8, p.at+p.size)
		}
	}
	return x
}

// findSecrets lists runs that differ from their clear form.
func (m *mutant) findSecrets(clear []byte, from, to int) {
	const long = 32
	for i := from; i < to; i++ {
		start, same := i, 0
		for i < to && same < 3 { // one byte in 256 is the same by chance
			if clear[i] == m.file[i] {
				same++
			} else {
				same = 0
			}
			i++
		}
		if end := i - same; end-start >= long {
			m.secret = append(m.secret, span{start, end})
		}
	}
}

func (m *mutant) walk(from, to int, within []int) {
	for at := from; at+8 <= to; {
		size := int(binary.BigEndian.Uint32(m.file[at:]))
		if size < 8 || at+size > to {
			return
		}
		typ := string(m.file[at+4 : at+8])
		m.boxes = append(m.boxes, placed{at, size, typ, slices.Clone(within)})
		inner := append(slices.Clone(within), len(m.boxes)-1)
		switch typ {
		case "moov", "trak", "mdia", "minf", "stbl", "mvex", "moof", "traf", "sinf", "schi":
			m.walk(at+8, at+size, inner)
		case "stsd":
			m.walk(at+16, at+size, inner)
		case "encv":
			m.walk(at+8+visualFields, at+size, inner)
		case "enca":
			m.walk(at+8+audioFields, at+size, inner)
		}
		at += size
	}
}

// pick takes a box; a big mdat is no more likely than a small tenc.
func (m *mutant) pick(r *rand.Rand) placed { return m.boxes[r.IntN(len(m.boxes))] }

// mutate breaks a copy in one to three ways.
func (m *mutant) mutate(r *rand.Rand) (b []byte, what string) {
	b = bytes.Clone(m.file)
	for range 1 + r.IntN(3) {
		x := m.pick(r)
		name := ""
		switch r.IntN(10) {
		case 0, 1, 2:
			b, name = flip(r, b, x), "flip in"
		case 3, 4:
			b, name = setField(r, b, x), "set in"
		case 5:
			b, name = resize(r, b, x), "resize"
		case 6:
			b, name = m.cutOut(r, b, x), "delete"
		case 7:
			b, name = m.double(r, b, x), "double"
		case 8:
			b, name = swap(b, x, m.pick(r)), "swap"
		default:
			b, name = b[:r.IntN(len(b)+1)], "truncate"
		}
		what += fmt.Sprintf("%s %s at %d; ", name, x.typ, x.at)
	}
	return b, what
}

// inHead is a place in a box, more often near its beginning.
func inHead(r *rand.Rand, b []byte, x placed, n int) int {
	room := x.size
	if r.IntN(2) == 0 || x.typ == "mdat" {
		room = min(room, 48)
	}
	return max(0, min(x.at+r.IntN(room), len(b)-n))
}

func flip(r *rand.Rand, b []byte, x placed) []byte {
	if len(b) == 0 {
		return b
	}
	at := inHead(r, b, x, 1)
	if r.IntN(2) == 0 {
		b[at] ^= 1 << r.IntN(8)
	} else {
		b[at] = byte(r.Uint32())
	}
	return b
}

// setField writes a number that readers stumble over.
func setField(r *rand.Rand, b []byte, x placed) []byte {
	numbers := [...]uint32{0, 1, 2, 7, 16, 0xff, 0x100, 0xffff, 0x10000, 0x1fffff, 0x200000, 0xffffff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff}
	if len(b) < 8 {
		return b
	}
	at := inHead(r, b, x, 4)
	if r.IntN(2) == 0 {
		at = min(x.at+(at-x.at)/4*4, len(b)-4)
	}
	v := numbers[r.IntN(len(numbers))]
	if r.IntN(3) == 0 {
		v = binary.BigEndian.Uint32(b[at:]) + uint32(r.IntN(9)) - 4
	}
	binary.BigEndian.PutUint32(b[at:], v)
	return b
}

func resize(r *rand.Rand, b []byte, x placed) []byte {
	by := [...]int{1, 4, 8, 16, 64, 1 << 16, 1 << 30}[r.IntN(7)]
	if r.IntN(2) == 0 {
		by = -by
	}
	if x.at+4 <= len(b) {
		binary.BigEndian.PutUint32(b[x.at:], uint32(int(binary.BigEndian.Uint32(b[x.at:]))+by))
	}
	return b
}

// around adds by to the sizes of the boxes around x, most times.
func (m *mutant) around(r *rand.Rand, b []byte, x placed, by int) {
	if r.IntN(4) == 0 {
		return
	}
	for _, i := range x.within {
		if at := m.boxes[i].at; at+4 <= len(b) {
			binary.BigEndian.PutUint32(b[at:], uint32(int(binary.BigEndian.Uint32(b[at:]))+by))
		}
	}
}

func (m *mutant) cutOut(r *rand.Rand, b []byte, x placed) []byte {
	if x.at+x.size > len(b) {
		return b
	}
	if r.IntN(2) == 0 { // keep every place: the box becomes free space
		copy(b[x.at+4:], "free")
		return b
	}
	m.around(r, b, x, -x.size)
	return slices.Delete(b, x.at, x.at+x.size)
}

func (m *mutant) double(r *rand.Rand, b []byte, x placed) []byte {
	if x.at+x.size > len(b) {
		return b
	}
	m.around(r, b, x, x.size)
	return slices.Insert(b, x.at, bytes.Clone(b[x.at:x.at+x.size])...)
}

// swap exchanges two boxes that are not one in the other.
func swap(b []byte, x, y placed) []byte {
	if x.at > y.at {
		x, y = y, x
	}
	if x.at+x.size > y.at || y.at+y.size > len(b) {
		return b
	}
	return slices.Concat(b[:x.at], b[y.at:y.at+y.size], b[x.at+x.size:y.at], b[x.at:x.at+x.size], b[y.at+y.size:])
}
