package cenc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// naming is how the pssh boxes of one moov or moof get their new names.
type naming struct {
	changes key.Changes
	// applies are the keys of the media, which boxes without a KID are for; nil:
	// not known.
	applies []key.KID
	// several lets more than one box stand in the place of one.
	several bool
	// grow lets what does not fit change the length.
	grow bool
	// fixed says why it must not nevertheless; empty: it may.
	fixed string
}

// named is what became of them.
type named struct {
	kept     []string // systems whose data may still name an old key
	notes    []Finding
	grown    []growth
	replaced [][]byte // the new boxes, as they stand there now
}

// growth is a run of bytes, from pssh box to free space, that becomes data of
// another length.
type growth struct {
	at   span
	data []byte
}

// rekeyPSSH replaces the boxes in b, which holds the same bytes as the window: by
// the data of the changes, else their KIDs where they stand. It names the systems
// whose data was kept as it was although it may name a key.
func (r *reader) rekeyPSSH(b []byte, boxes []psshBox, n naming) (named, error) {
	var out named
	for i := range boxes {
		if err := r.rekeyOne(b, &boxes[i], n, &out); err != nil {
			r.push(boxes[i].typ, i)
			defer r.pop()
			return named{}, r.psshError(boxes[i].box, err)
		}
	}
	return out, nil
}

func (r *reader) rekeyOne(b []byte, p *psshBox, n naming, out *named) error {
	plain := p.plain(r.b, r.base)
	fresh, err := pssh.Replace(plain, n.changes, n.applies)
	if err != nil {
		return err
	}
	if len(fresh) > 0 {
		if r.place(b, p, fresh, n, out) {
			return nil
		}
	}
	old, updated, err := pssh.Rekey(plain, n.changes)
	if err != nil {
		return err
	}
	at := p.end - r.base - (len(old) - 8)
	copy(b[at:], old[8:])
	if !updated && !p.names(n.changes) && len(p.kids) == 0 && !slices.Contains(out.kept, p.system) {
		out.kept = append(out.kept, p.system)
	}
	return nil
}

// place puts the new boxes where p stood, and fills what is left of its room with
// a free box, of 8 bytes at least (ISO/IEC 14496-12 §8.1.2). false: they can't be
// put there, and why is noted.
func (r *reader) place(b []byte, p *psshBox, fresh [][]byte, n naming, out *named) bool {
	room := p.pad - p.start
	no := func(format string, a ...any) bool {
		out.notes = append(out.notes, Finding{r.object, FindingOldDRM, 0, 1,
			fmt.Sprintf("pssh data of %s stays the old, with the new KIDs in it: ", p.system) + fmt.Sprintf(format, a...)})
		return false
	}
	if len(fresh) > 1 && !n.several {
		return no("%d new boxes would stand in the place of one", len(fresh))
	}
	data, ok := p.form(fresh)
	left := room - len(data)
	switch {
	case !ok:
		return no("the form of PIFF has no place for a KID list")
	case left == 0 || left >= 8:
		at := b[p.start-r.base : p.pad-r.base]
		clear(at[copy(at, data):])
		if left > 0 {
			binary.BigEndian.PutUint32(at[len(data):], uint32(left))
			binary.BigEndian.PutUint32(at[len(data)+4:], uint32(typeFree))
		}
	case !n.grow:
		return no("the new has %d bytes where %d are", len(data), room)
	case n.fixed != "":
		return no("the new has %d bytes where %d are, and %s", len(data), room, n.fixed)
	default:
		out.grown = append(out.grown, growth{span{p.start, p.pad}, data})
	}
	out.replaced = append(out.replaced, fresh...)
	return true
}

// form joins boxes in the form that p has. That of PIFF has a usertype before the
// fields of version 0.
func (p *psshBox) form(boxes [][]byte) ([]byte, bool) {
	if p.typ == typePssh {
		return bytes.Join(boxes, nil), true
	}
	var out []byte
	for _, b := range boxes {
		if b[8] != 0 {
			return nil, false
		}
		out = binary.BigEndian.AppendUint32(out, uint32(len(b)+len(piffPSSH)))
		out = binary.BigEndian.AppendUint32(out, uint32(typeUuid))
		out = append(append(out, piffPSSH...), b[8:]...)
	}
	return out, true
}

// spliced gives an init section its new pssh boxes, of which some have another
// length, and moov its new size. b is the section with all else done.
func (in *Init) spliced(b []byte, grown []growth) ([]byte, error) {
	if len(grown) == 0 {
		return b, nil
	}
	out, last := make([]byte, 0, len(b)), 0
	for _, g := range grown {
		out = append(out, b[last:g.at.from]...)
		out = append(out, g.data...)
		last = g.at.to
	}
	out = append(out, b[last:]...)
	head := out[in.moov.start:]
	size := uint64(in.moov.end - in.moov.start + len(out) - len(b))
	switch {
	case binary.BigEndian.Uint32(head) == 0: // to the end, wherever that is
	case in.moov.body-in.moov.start == 16:
		binary.BigEndian.PutUint64(head[8:], size)
	case size > math.MaxUint32:
		r := &reader{object: in.object}
		return nil, r.fail(ErrLimit, in.moov.start, "moov of %d bytes", size)
	default:
		binary.BigEndian.PutUint32(head, uint32(size))
	}
	return out, nil
}

// fixed says what in an init section counts on its length: nothing of it should
// but offsets into media that it does not hold.
func (in *Init) fixed() (why string) {
	r := &reader{object: in.object, b: in.b}
	look := func(x box) error {
		if why == "" && r.countsOnLength(x) {
			why = fmt.Sprintf("%v at %d counts on the length", x.typ, x.start)
		}
		return nil
	}
	var walk func(from, to int) error
	walk = func(from, to int) error {
		return r.each(box{body: from, end: to}, func(x box) error {
			switch x.typ {
			case typeMoov, typeTrak, typeMdia, typeMinf, typeStbl:
				r.push(x.typ, 0)
				defer r.pop()
				return walk(x.body, x.end)
			}
			return look(x)
		})
	}
	if err := walk(0, len(in.b)); err != nil && why == "" {
		why = err.Error()
	}
	return why
}

// countsOnLength tells whether a box has offsets that may reach past moov: those
// of an index (ISO/IEC 14496-12 §8.16.3, §8.8.10), of chunks and auxiliary
// information (§8.7.5, §8.7.9), of items (§8.11.3), or media itself.
func (r *reader) countsOnLength(x box) bool {
	switch x.typ {
	case typeSidx, typeMfra, typeMoof, typeMdat:
		return true
	case typeMeta, typeUdta:
		return bytes.Contains(r.bytes(x.body, x.end), []byte("iloc"))
	case typeStco, typeCo64:
		f := r.fields(x)
		f.full()
		return f.u32() > 0 || f.short
	case typeSaio:
		f := r.fields(x)
		if _, flags := f.full(); flags&1 != 0 {
			f.skip(8)
		}
		return f.u32() > 0 || f.short
	}
	return false
}

// opaqueKIDs are the keys that a pssh box in moov is for which names none: all
// that moov names, where its fragments name no others.
func (in *Init) opaqueKIDs() []key.KID {
	if in.KeysInFragments() {
		return nil
	}
	return in.KIDs()
}

// checkNames reads an init section that got new boxes as a stranger would.
func (in *Init) checkNames(b []byte, ch key.Changes, replaced [][]byte) error {
	again, err := ParseInit(in.object, b)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	r := &reader{object: in.object}
	if len(again.tracks) != len(in.tracks) || len(again.kidAt) != len(in.kidAt) {
		return r.fail(ErrVerify, in.moov.start, "moov has other tracks")
	}
	for i, at := range in.kidAt {
		was, now := key.KID(in.b[at:at+16]), key.KID(b[again.kidAt[i]:again.kidAt[i]+16])
		if c, ok := ch[was]; ok {
			was = c.NewKID
		}
		if now != was {
			return r.fail(ErrVerify, again.kidAt[i], "KID %v is not the new one", now)
		}
	}
	for i := range again.pssh {
		plain := again.pssh[i].plain(again.b, again.base)
		if len(replaced) > 0 && bytes.Equal(plain, replaced[0]) {
			replaced = replaced[1:]
		}
	}
	if len(replaced) > 0 {
		return r.fail(ErrVerify, in.moov.start, "%d new pssh boxes are not there", len(replaced))
	}
	return nil
}
