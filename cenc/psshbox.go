package cenc

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// Usertypes of the boxes of PIFF 1.1 (Protected Interoperable File Format, §5.3),
// the ancestors of pssh, tenc and senc.
const (
	piffPSSH = "\xd0\x8a\x4f\x18\x10\xf3\x4a\x82\xb6\xc8\x32\xd8\xab\xa1\x83\xd3"
	piffTenc = "\x89\x74\xdb\xce\x7b\xe7\x4c\x51\x84\xf9\x71\x48\xf9\x88\x25\x54"
	piffSenc = "\xa2\x39\x4f\x52\x5a\x9b\x4f\x14\xa2\x44\x6c\x42\x7c\x64\x8d\xf4"
)

// isUUID tells whether x is the extension box of a usertype.
func (r *reader) isUUID(x box, usertype string) bool {
	return x.typ == typeUuid && x.end-x.body >= 16 && string(r.bytes(x.body, x.body+16)) == usertype
}

// psshBox is a pssh box, or PIFF's form of it: its place, and the KIDs in it.
type psshBox struct {
	box
	// pad is where the free boxes end that follow it, with nothing but zeros in
	// them; end where there are none. New data may take their room.
	pad    int
	kids   []key.KID
	system string
	// unsupported says why the data can't be changed safely; nil if it can.
	unsupported error
}

func (r *reader) isPSSH(x box) bool { return x.typ == typePssh || r.isUUID(x, piffPSSH) }

// plain gives the box in the form of ISO/IEC 23001-7 §8.1. PIFF's has a usertype
// before the same fields.
func (p *psshBox) plain(b []byte, base int) []byte {
	if p.typ == typePssh {
		return b[p.start-base : p.end-base]
	}
	fields := b[p.body+16-base : p.end-base]
	out := make([]byte, 0, 8+len(fields))
	out = binary.BigEndian.AppendUint32(out, uint32(8+len(fields)))
	out = binary.BigEndian.AppendUint32(out, uint32(typePssh))
	return append(out, fields...)
}

// appendPSSH reads a pssh box while its place is known.
func (r *reader) appendPSSH(list []psshBox, x box) ([]psshBox, error) {
	p := psshBox{box: x, pad: x.end}
	plain := p.plain(r.b, r.base)
	kids, err := pssh.KIDs(plain)
	if errors.Is(err, pssh.ErrUnsupported) {
		p.unsupported = r.psshError(x, err)
	} else if err != nil {
		return nil, r.psshError(x, err)
	}
	p.kids = kids
	if len(plain) >= 28 {
		p.system = pssh.SystemName([16]byte(plain[12:28]))
	}
	return append(list, p), nil
}

func (p *psshBox) names(ch key.Changes) bool {
	return slices.ContainsFunc(p.kids, func(kid key.KID) bool { _, ok := ch[kid]; return ok })
}

// padPSSH gives x to the pssh box before it, if it is free space.
func (r *reader) padPSSH(list []psshBox, x box) {
	if x.typ != typeFree || len(list) == 0 || list[len(list)-1].pad != x.start {
		return
	}
	for _, c := range r.bytes(x.body, x.end) {
		if c != 0 {
			return
		}
	}
	list[len(list)-1].pad = x.end
}

// blank makes the box's canonical clear form in cl: zeros, and one header for it
// and the free space after it.
func (p *psshBox) blank(cl []byte, base int) {
	clear(cl[p.body-base : p.pad-base])
	size := uint64(p.pad - p.start)
	if p.body-p.start == 16 {
		binary.BigEndian.PutUint64(cl[p.start+8-base:], size)
	} else {
		binary.BigEndian.PutUint32(cl[p.start-base:], uint32(size))
	}
}

func psshKIDs(out []key.KID, boxes []psshBox) []key.KID {
	for _, p := range boxes {
		for _, kid := range p.kids {
			out = appendKID(out, kid)
		}
	}
	return out
}

// psshError puts an error of package pssh into its place in the object.
func (r *reader) psshError(x box, err error) error {
	class, at := ErrMalformed, x.start
	if errors.Is(err, pssh.ErrUnsupported) {
		class = ErrUnsupported
	}
	if errors.Is(err, ErrReplacement) {
		class = ErrReplacement
	}
	var e *pssh.Error
	if errors.As(err, &e) {
		if !errors.Is(class, ErrReplacement) {
			at += int(e.Offset)
		}
		return r.fail(class, at, "%s: %s", e.Place, e.Reason)
	}
	return r.fail(class, at, "%v", err)
}
