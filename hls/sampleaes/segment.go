package sampleaes

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
)

// Result is what became of one segment. Its slices alias the buffers of the
// Rekeyer or Decrypter and stand until its next call.
type Result struct {
	// Out is the segment under the new key; nil from a Decrypter. It may be longer
	// than the old one, and is never shorter.
	Out []byte
	// Clear is the canonical clear form, the same for the old and the new segment.
	// It is for comparing and not playable.
	//
	// Of packed audio it is the segment with its frames decrypted. Of MPEG-2 TS it
	// is the clear elementary streams of the protected PIDs, in ascending order of
	// PID, without the second layer of emulation prevention; then, in the order of
	// the packets, a record for each of: a packet of any other PID, whole; what an
	// adaptation field of a protected PID says, without stuffing ('A', PID, length,
	// bytes from the flags on); a PES packet where it begins ('P', two bytes of the
	// packet's head with the PID, continuity_counter, length of the PES header in 16
	// bits, PES header with PES_packet_length 0, length of the clear payload in 32
	// bits); then the length of the elementary streams in 64 bits. What is not in it
	// is how a PES packet is cut into packets.
	Clear []byte
	// Evidence is what the clear media says of the old key.
	Evidence evidence.Evidence
	// Stored is what the stored bytes say, taken for clear media: right where media
	// is signalled as encrypted and is not.
	Stored evidence.Evidence
	// Grown is where the new segment is longer, ascending.
	Grown []Growth
	// Frames is the number of NAL units and audio frames with protected blocks.
	Frames   int
	Findings []string
}

// Growth says that By bytes were inserted before offset At of the object.
type Growth struct{ At, By int64 }

// Decrypter decrypts segments. It is for one goroutine, and reuses its buffers.
type Decrypter struct{ reader reader }

// NewDecrypter decrypts under k. With a key that is not set, every Segment gives
// hls.ErrMissingKey.
func NewDecrypter(k key.ContentKey) *Decrypter {
	d := &Decrypter{}
	if !k.IsZero() {
		d.reader.key = newCiphers(k)
	}
	return d
}

// Segment decrypts one whole segment, which begins at this offset of the object.
// A wrong key is no error: Evidence speaks. src is only read.
func (d *Decrypter) Segment(object string, at int64, iv key.IV, src []byte) (Result, error) {
	if d.reader.key == nil {
		return Result{}, &hls.Error{Object: object, Class: hls.ErrMissingKey, Reason: "no key to decrypt with"}
	}
	if err := d.reader.read(object, at, iv, src); err != nil {
		return Result{}, err
	}
	return d.reader.result(), nil
}

// Rekeyer moves segments from one key to another. It is for one goroutine, and
// reuses its buffers: about five times a segment.
type Rekeyer struct {
	unusable string // why the change cannot be made
	old      reader
	again    reader // reads what was written, under the new key
	new      encrypter
	cursors  []cursor
	out      []byte
	grown    []Growth
}

// NewRekeyer rekeys by c; its NewKID is not used. With keys that are not set or
// are the same, every Segment gives hls.ErrMissingKey.
func NewRekeyer(c key.Change) *Rekeyer {
	r := &Rekeyer{}
	switch {
	case c.Old.IsZero():
		r.unusable = "no key to decrypt with"
	case c.New.IsZero():
		r.unusable = "no key to encrypt with"
	case c.New.Equal(c.Old):
		r.unusable = "the new key is the old one"
	default:
		r.old.key, r.again.key = newCiphers(c.Old), newCiphers(c.New)
		r.new.key, r.again.blind = r.again.key, true
	}
	return r
}

// Segment rekeys one whole segment, which begins at this offset of the object,
// under the same IV: the key is new, and CBC needs no more. The new segment has
// been read and decrypted again and comes to the same clear form. A wrong key is
// no error: Evidence speaks. src is only read.
func (r *Rekeyer) Segment(object string, at int64, iv key.IV, src []byte) (Result, error) {
	if r.unusable != "" {
		return Result{}, &hls.Error{Object: object, Class: hls.ErrMissingKey, Reason: r.unusable}
	}
	if err := r.old.read(object, at, iv, src); err != nil {
		return Result{}, err
	}
	r.new.iv, r.grown = iv, r.grown[:0]
	if err := r.write(); err != nil {
		return Result{}, err
	}
	if err := r.verify(); err != nil {
		return Result{}, err
	}
	res := r.old.result()
	res.Out, res.Grown = r.out, r.grown
	return res, nil
}

// write fills r.out.
func (r *Rekeyer) write() error {
	if len(r.old.streams) == 0 { // packed audio, or nothing is protected
		r.out = append(r.out[:0], r.old.src...)
		for _, p := range r.old.frames {
			copy(r.out[p.from:p.to], r.old.clear[p.from:p.to])
		}
		r.new.encryptAudio(r.out, r.old.frames)
		return nil
	}
	for i := range r.old.streams {
		s := &r.old.streams[i]
		end := s.base
		if n := len(s.clearEnds); n > 0 {
			end += s.clearEnds[n-1]
		}
		clear := r.old.clear[s.base:end]
		if s.kind == typeH264 {
			s.encryptVideo(&r.new, clear)
			continue
		}
		s.out = append(s.out, clear...)
		r.new.encryptAudio(s.out, s.protect)
	}
	return r.remux()
}

// verify reads the new segment as a stranger would.
func (r *Rekeyer) verify() error {
	const suspect = "the new segment does not decrypt to the clear one"
	err := r.again.read(r.old.object, r.old.at, r.old.iv, r.out)
	var e *hls.Error
	switch {
	case errors.As(err, &e):
		return r.old.fail(e.Class, 0, fmt.Sprintf("%s: at its offset %d: %s", suspect, e.Offset-r.old.at, e.Reason))
	case err != nil:
		return err
	case !bytes.Equal(r.again.clear, r.old.clear) || r.again.samples != r.old.samples:
		return r.old.fail(hls.ErrMalformed, 0, suspect)
	}
	return nil
}

// result is what was read.
func (r *reader) result() Result {
	res := Result{Clear: r.clear, Frames: r.samples, Evidence: r.decoded.weigh(), Stored: r.stored.weigh()}
	if r.odd > 0 {
		res.Findings = append(res.Findings, fmt.Sprintf("%d NAL units with emulation prevention that no encoder writes", r.odd))
	}
	if len(r.src) > 0 && r.src[0] == syncByte && len(r.streams) == 0 {
		res.Findings = append(res.Findings, "the PMT names no protected stream: the segment stays as it is")
	}
	return res
}
