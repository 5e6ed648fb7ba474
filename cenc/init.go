package cenc

import (
	"bytes"
	"slices"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// Init is a parsed init section, or the moov of a file that holds its media
// too. It is read-only and may be shared.
type Init struct {
	object      string
	b           []byte // the whole init section; moov alone of a file
	base        int    // where b begins in the object
	moov        box
	tracks      []track
	prots       []protection // of every sample entry, in the order of the file
	kidAt       []int        // where a KID stands: tenc, seig
	pssh        []psshBox
	mvex        bool
	listed      int // samples that moov itself lists, of all tracks
	unsupported error
}

// Track describes one track as the init section declares it.
type Track struct {
	ID        uint32
	Encrypted bool   // a sample entry is a protected one
	Scheme    string // scheme type, such as cenc; "" when clear
	// KID is the default of the first protected sample entry (tenc); zero where
	// sample groups name the keys. KIDs are all that moov names for the track.
	KID     key.KID
	KIDs    []key.KID
	IVSize  int    // per-sample IV size: 8, 16, or 0 for a constant IV
	Handler string // such as vide, soun
	Codec   string // sample entry type, of the clear media: avc1, hvc1, mp4a, ...
}

// track is Track and what the transform needs besides.
type track struct {
	Track
	entries []int // sample entries: an index in Init.prots, or -1 for a clear one
	seigs   descriptions
	stbl    sampleTables

	defaultSize uint32
	defaultDesc uint32
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
			in.refuse(r.unsupported(x.start, "%v beside moov: a file that is no init section", x.typ))
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

// refuse keeps the first reason, if err is one.
func (in *Init) refuse(err error) {
	if in.unsupported == nil && err != nil {
		in.unsupported = err
	}
}

func (in *Init) readMoov(r *reader, moov box) error {
	r.push(typeMoov, 0)
	defer r.pop()
	in.moov = moov
	var trex []box
	for at, traks, psshs := moov.body, 0, 0; at < moov.end; {
		x, err := r.box(at, moov.end)
		if err != nil {
			return err
		}
		at = x.end
		r.padPSSH(in.pssh, x)
		switch {
		case x.typ == typeTrak:
			r.push(typeTrak, traks)
			err = in.readTrak(r, x)
			traks++
		case x.typ == typeMvex:
			r.push(typeMvex, 0)
			in.mvex = true
			trex, err = in.listTrex(r, x, trex)
		case r.isPSSH(x):
			r.push(x.typ, psshs)
			psshs++
			if in.pssh, err = r.appendPSSH(in.pssh, x); err == nil {
				in.refuse(in.pssh[len(in.pssh)-1].unsupported)
			}
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
	err := r.each(mvex, func(x box) error {
		if x.typ == typeTrex {
			trex = append(trex, x)
		}
		return nil
	})
	return trex, err
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
		out[i].KIDs = slices.Clone(out[i].KIDs)
	}
	return out
}

// KIDs lists the KIDs that moov names for encrypted tracks, each once: the
// defaults (tenc) and those of its sample groups (seig). A default of zero is
// listed too: then samples may be under keys that only their fragments name.
func (in *Init) KIDs() []key.KID {
	var out []key.KID
	for i := range in.tracks {
		for _, kid := range in.tracks[i].KIDs {
			out = appendKID(out, kid)
		}
	}
	return out
}

// PSSHKIDs lists the KIDs in the pssh boxes, each once.
func (in *Init) PSSHKIDs() []key.KID { return psshKIDs(nil, in.pssh) }

func appendKID(kids []key.KID, kid key.KID) []key.KID {
	if slices.Contains(kids, kid) {
		return kids
	}
	return append(kids, kid)
}

// KeysInFragments tells whether moov says that its fragments name keys: by a
// default KID of zero, or by sample groups.
func (in *Init) KeysInFragments() bool {
	return slices.ContainsFunc(in.tracks, func(t track) bool {
		return t.Encrypted && (t.KID.IsZero() || t.seigs.count > 0)
	})
}

// Encrypted tells whether any track is.
func (in *Init) Encrypted() bool {
	return slices.ContainsFunc(in.tracks, func(t track) bool { return t.Encrypted })
}

// Supported is nil if segments of this init section can be rekeyed, else an
// ErrUnsupported that names the box and the reason. An init section without an
// encrypted track is always supported: there is nothing to change.
func (in *Init) Supported() error {
	if in.Encrypted() {
		return in.unsupported
	}
	return nil
}

// CheckKey says whether k is the key of kid by the PlayReady CHECKSUM of any
// pssh box: exact, or Undecided if there is none.
func (in *Init) CheckKey(kid key.KID, k key.ContentKey) evidence.Verdict {
	verdict := evidence.Undecided
	for _, p := range in.pssh {
		switch pssh.CheckKey(p.plain(in.b, in.base), kid, k) {
		case evidence.Wrong:
			return evidence.Wrong
		case evidence.Right:
			verdict = evidence.Right
		}
	}
	return verdict
}

// InitOptions say how an init section may change.
type InitOptions struct {
	// AllowGrowth lets new pssh boxes that do not fit change the length of the
	// init section and of moov. Whoever sets it answers for what is said of its
	// bytes elsewhere: byte ranges that reach into it (EXT-X-MAP with BYTERANGE,
	// Initialization@range, @indexRange) and an object that it shares with its
	// media. What counts on its length inside it is looked after. Without it such
	// data stays the old, with the new KIDs in it, and a finding says so.
	AllowGrowth bool
}

// InitResult is what an init section came to.
type InitResult struct {
	Out []byte
	// Growth is how many bytes longer Out is; negative where it is shorter, and 0
	// always without AllowGrowth.
	Growth int
	// Findings are of the code FindingOldDRM: DRM data that stays the old although
	// the changes bring new.
	Findings []Finding
	// NotUpdated names the protection systems whose pssh data was kept as it was,
	// because nothing in it could be understood to name a key.
	NotUpdated []string
}

// Rekey is RekeyWith that keeps the length, and tells of no findings.
func (in *Init) Rekey(dst []byte, ch key.Changes) ([]byte, error) {
	res, err := in.RekeyWith(dst, ch, InitOptions{})
	return res.Out, err
}

// RekeyWith appends the init section to dst[:0] with every KID of ch replaced, in
// tenc, in sample groups and in the pssh boxes. Where ch brings new pssh boxes,
// pssh.Replace says which of them take the place of one: where they are shorter,
// by 8 bytes or more, a free box follows; where they do not fit, the length
// changes or the old data stays, as o says. What got new boxes is read again.
func (in *Init) RekeyWith(dst []byte, ch key.Changes, o InitOptions) (InitResult, error) {
	if err := in.Supported(); err != nil {
		return InitResult{}, err
	}
	if err := in.checkReplacements(ch); err != nil {
		return InitResult{}, err
	}
	dst = append(dst[:0], in.b...)
	putKIDs(dst, in.base, in.kidAt, ch)
	n := naming{changes: ch, applies: in.opaqueKIDs(), several: true, grow: o.AllowGrowth}
	if n.grow {
		n.fixed = in.fixed()
	}
	r := &reader{object: in.object, b: in.b, base: in.base}
	r.push(typeMoov, 0)
	names, err := r.rekeyPSSH(dst, in.pssh, n)
	if err != nil {
		return InitResult{}, err
	}
	res := InitResult{Findings: names.notes, NotUpdated: names.kept}
	if res.Out, err = in.spliced(dst, names.grown); err != nil {
		return InitResult{}, err
	}
	res.Growth = len(res.Out) - len(in.b)
	if len(names.replaced) > 0 {
		err = in.checkNames(res.Out, ch, names.replaced)
	}
	return res, err
}

// checkReplacements refuses changes whose new DRM data can't be used.
func (in *Init) checkReplacements(ch key.Changes) error {
	if err := pssh.CheckReplacements(ch); err != nil {
		return &Error{in.object, "moov", 0, err.Error(), ErrReplacement}
	}
	return nil
}

// NotUpdated names the protection systems whose pssh data Rekey keeps as it is,
// because nothing in it can be understood to name a key, unless the changes bring
// new data for it: InitResult tells.
func (in *Init) NotUpdated() []string {
	var names []string
	for _, p := range in.pssh {
		if len(p.kids) == 0 && !slices.Contains(names, p.system) {
			names = append(names, p.system)
		}
	}
	return names
}

// putKIDs replaces the KIDs at the offsets at, of an object whose byte base is
// b[0].
func putKIDs(b []byte, base int, at []int, ch key.Changes) {
	for _, at := range at {
		kid := b[at-base : at-base+16]
		if c, ok := ch[key.KID(kid)]; ok {
			copy(kid, c.NewKID[:])
		}
	}
}
