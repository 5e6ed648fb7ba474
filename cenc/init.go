package cenc

import (
	"bytes"
	"errors"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// Init is a parsed init section. It is read-only and may be shared.
type Init struct {
	object      string
	b           []byte
	tracks      []track
	pssh        []psshBox
	mvex        bool
	unsupported error
}

// Track describes one track as the init section declares it.
type Track struct {
	ID        uint32
	Encrypted bool   // the sample entry is a protected one
	Scheme    string // scheme type, such as cenc; "" when clear
	KID       key.KID
	IVSize    int    // per-sample IV size: 8, 16, or 0 for a constant IV
	Handler   string // such as vide, soun
	Codec     string // sample entry type, of the clear media: avc1, hvc1, mp4a, ...
}

// track is Track and what the transform needs besides.
type track struct {
	Track
	kidAt   []int // where tenc's default_KID stands, of every entry
	rule    rule
	nalSize int // bytes of a NAL unit's length field

	entries     int // of stsd
	defaultSize uint32
	defaultDesc uint32
}

// psshBox is a pssh box of moov: its place, and the KIDs in it.
type psshBox struct {
	box
	kids []key.KID
}

// ParseInit reads an init section. Malformed bytes are an error; a layout that
// is only not supported parses, and Supported reports it. b is copied.
func ParseInit(object string, b []byte) (*Init, error) {
	in := &Init{object: object, b: bytes.Clone(b)}
	r := &reader{object: object, b: in.b}
	moov := false
	for at := 0; at < len(in.b); {
		x, err := r.box(at, len(in.b))
		if err != nil {
			return nil, err
		}
		at = x.end
		switch x.typ {
		case typeMoov:
			if moov {
				return nil, r.malformed(x.start, "second moov")
			}
			moov = true
			if err := in.readMoov(r, x); err != nil {
				return nil, err
			}
		case typeMoof, typeMdat:
			in.refuse(r.unsupported(x.start, "%v beside moov: a single-file or progressive asset", x.typ))
		}
	}
	if !moov {
		return nil, r.malformed(0, "no moov")
	}
	if !in.mvex {
		in.refuse(r.unsupported(0, "no mvex: a file that is not fragmented"))
	}
	return in, nil
}

// refuse keeps the first reason.
func (in *Init) refuse(err error) {
	if in.unsupported == nil {
		in.unsupported = err
	}
}

func (in *Init) readMoov(r *reader, moov box) error {
	r.push(typeMoov, 0)
	defer r.pop()
	var trex []box
	for at, traks, psshs := moov.body, 0, 0; at < moov.end; {
		x, err := r.box(at, moov.end)
		if err != nil {
			return err
		}
		at = x.end
		switch x.typ {
		case typeTrak:
			r.push(typeTrak, traks)
			err = in.readTrak(r, x)
			traks++
		case typeMvex:
			r.push(typeMvex, 0)
			in.mvex = true
			trex, err = in.listTrex(r, x, trex)
		case typePssh:
			r.push(typePssh, psshs)
			err = in.readPSSH(r, x)
			psshs++
		default:
			continue
		}
		if err != nil {
			return err
		}
		r.pop()
	}
	r.push(typeMvex, 0)
	defer r.pop()
	for _, x := range trex {
		if err := in.readTrex(r, x); err != nil {
			return err
		}
	}
	return nil
}

// listTrex collects the trex boxes; mvex may stand before the traks.
func (in *Init) listTrex(r *reader, mvex box, trex []box) ([]box, error) {
	for at := mvex.body; at < mvex.end; {
		x, err := r.box(at, mvex.end)
		if err != nil {
			return nil, err
		}
		at = x.end
		if x.typ == typeTrex {
			trex = append(trex, x)
		}
	}
	return trex, nil
}

// readTrex reads a track's defaults (ISO/IEC 14496-12 §8.8.3).
func (in *Init) readTrex(r *reader, x box) error {
	f := r.fields(x)
	f.full()
	id, desc := f.u32(), f.u32()
	f.u32() // default_sample_duration
	size := f.u32()
	if f.short {
		return r.malformed(x.start, "trex ends early")
	}
	t := in.track(id)
	if t < 0 {
		return nil // a default for no track harms nobody
	}
	in.tracks[t].defaultDesc, in.tracks[t].defaultSize = desc, size
	return nil
}

// readPSSH checks a pssh box while its place is known.
func (in *Init) readPSSH(r *reader, x box) error {
	kids, err := pssh.KIDs(r.b[x.start:x.end])
	if errors.Is(err, pssh.ErrUnsupported) {
		in.refuse(in.psshError(r, x, err))
	} else if err != nil {
		return in.psshError(r, x, err)
	}
	in.pssh = append(in.pssh, psshBox{x, kids})
	return nil
}

func (in *Init) track(id uint32) int {
	for i := range in.tracks {
		if in.tracks[i].ID == id {
			return i
		}
	}
	return -1
}

// Tracks lists the tracks in the order of the file.
func (in *Init) Tracks() []Track {
	out := make([]Track, len(in.tracks))
	for i := range in.tracks {
		out[i] = in.tracks[i].Track
	}
	return out
}

// KIDs lists the default KIDs of the encrypted tracks (tenc), each once.
func (in *Init) KIDs() []key.KID {
	var out []key.KID
	for i := range in.tracks {
		for _, at := range in.tracks[i].kidAt {
			out = appendKID(out, key.KID(in.b[at:at+16]))
		}
	}
	return out
}

// PSSHKIDs lists the KIDs in the pssh boxes, each once.
func (in *Init) PSSHKIDs() []key.KID {
	var out []key.KID
	for _, p := range in.pssh {
		for _, kid := range p.kids {
			out = appendKID(out, kid)
		}
	}
	return out
}

func appendKID(kids []key.KID, kid key.KID) []key.KID {
	for _, k := range kids {
		if k == kid {
			return kids
		}
	}
	return append(kids, kid)
}

// Supported is nil if segments of this init section can be rekeyed, else an
// ErrUnsupported that names the box and the reason. An init section without an
// encrypted track is always supported: there is nothing to change.
func (in *Init) Supported() error {
	for i := range in.tracks {
		if in.tracks[i].Encrypted {
			return in.unsupported
		}
	}
	return nil
}

// CheckKey says whether k is the key of kid by the PlayReady CHECKSUM of any
// pssh box: exact, or Undecided if there is none.
func (in *Init) CheckKey(kid key.KID, k key.ContentKey) evidence.Verdict {
	verdict := evidence.Undecided
	for _, p := range in.pssh {
		switch pssh.CheckKey(in.b[p.start:p.end], kid, k) {
		case evidence.Wrong:
			return evidence.Wrong
		case evidence.Right:
			verdict = evidence.Right
		}
	}
	return verdict
}

// Rekey appends the init section to dst[:0] with every KID of ch replaced, in
// tenc and in the pssh boxes. The length is the same always.
func (in *Init) Rekey(dst []byte, ch key.Changes) ([]byte, error) {
	if err := in.Supported(); err != nil {
		return nil, err
	}
	dst = append(dst[:0], in.b...)
	for i := range in.tracks {
		for _, at := range in.tracks[i].kidAt {
			if c, ok := ch[key.KID(in.b[at:at+16])]; ok {
				copy(dst[at:], c.NewKID[:])
			}
		}
	}
	r := &reader{object: in.object, b: in.b}
	r.push(typeMoov, 0)
	for i, p := range in.pssh {
		out, _, err := pssh.Rekey(in.b[p.start:p.end], ch)
		if err != nil {
			r.push(typePssh, i)
			return nil, in.psshError(r, p.box, err)
		}
		copy(dst[p.start:p.end], out)
	}
	return dst, nil
}
