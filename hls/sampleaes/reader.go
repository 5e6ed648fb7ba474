package sampleaes

import (
	"encoding/binary"

	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
)

// reader reads and decrypts one segment. It reuses its buffers.
type reader struct {
	object string
	at     int64 // where the segment begins in the object
	iv     key.IV
	key    *ciphers
	src    []byte

	streams []stream
	index   [nullPID + 1]uint16 // by PID: 1 + index in streams
	clear   []byte              // the canonical clear form
	frames  []span              // of packed audio: protected parts
	samples int                 // NAL units and frames that are protected
	odd     int                 // NAL units that are escaped as no encoder does it
	// The evidence, unless blind.
	blind   bool
	blocks  blockSet
	fresh   []bool
	decoded tally
	stored  tally
}

// fail is an error about the byte at this offset of the segment.
func (r *reader) fail(class error, at int, reason string) error {
	return &hls.Error{Object: r.object, Offset: r.at + int64(at), Class: class, Reason: reason}
}

// read reads src, and makes its canonical clear form.
func (r *reader) read(object string, at int64, iv key.IV, src []byte) error {
	r.object, r.at, r.iv, r.src = object, at, iv, src
	r.clear, r.frames, r.streams = r.clear[:0], r.frames[:0], r.streams[:0]
	r.samples, r.odd = 0, 0
	r.blocks, r.decoded, r.stored = blockSet{}, tally{}, tally{}
	switch {
	case len(src) == 0:
		return r.fail(hls.ErrMalformed, 0, "the segment is empty")
	case src[0] == syncByte || len(src) > 4 && src[4] == syncByte && src[0] != 0xff && src[0] != 0x0b:
		return r.transport()
	}
	return r.packed()
}

// transport reads MPEG-2 TS.
func (r *reader) transport() error {
	if at, reason, class := checkPackets(r.src); class != nil {
		return r.fail(class, at, reason)
	}
	types, err := r.program()
	if err != nil {
		return err
	}
	if err := r.collect(types); err != nil {
		return err
	}
	for i := range r.streams {
		s := &r.streams[i]
		s.base = len(r.clear)
		if s.kind == typeH264 {
			err = r.video(s)
		} else {
			err = r.audio(s)
		}
		if err != nil {
			return err
		}
	}
	r.skeleton()
	return nil
}

// skeleton appends what is not an elementary stream: the records of Result.Clear.
func (r *reader) skeleton() {
	end := len(r.clear)
	var next [nullPID + 1]uint32
	for at := 0; at < len(r.src); at += packetSize {
		p := packet(r.src[at : at+packetSize])
		i := r.index[p.pid()]
		if i == 0 || len(r.streams) == 0 {
			r.clear = append(r.clear, p...)
			continue
		}
		l, _ := p.parse()
		if l.content > 0 {
			r.clear = append(r.clear, 'A', p[1]&0x1f, p[2], byte(l.content))
			r.clear = append(r.clear, p[5:5+l.content]...)
		}
		if !p.starts() || l.payload == packetSize {
			continue
		}
		s := &r.streams[i-1]
		n := int(next[p.pid()])
		u := s.units[n]
		next[p.pid()]++
		head := s.heads[u.head.from:u.head.to]
		r.clear = append(r.clear, 'P', p[1], p[2], p.counter())
		r.clear = binary.BigEndian.AppendUint16(r.clear, uint16(len(head)))
		r.clear = append(r.clear, head[:4]...)
		r.clear = append(r.clear, 0, 0) // PES_packet_length
		r.clear = append(r.clear, head[6:]...)
		r.clear = binary.BigEndian.AppendUint32(r.clear, uint32(s.clearEnds[n]-startOf(s.clearEnds, n)))
	}
	r.clear = binary.BigEndian.AppendUint64(r.clear, uint64(end))
}
