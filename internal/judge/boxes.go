package judge

import (
	"bytes"
	"encoding/binary"
)

// box is a box of an ISO BMFF file: where it begins, where its content begins
// and where it ends (ISO/IEC 14496-12 §4.2).
type box struct {
	typ            string
	at, body, past int
}

// boxes are the boxes between two places of a file; one that does not fit ends
// the list.
func boxes(b []byte, from, to int) (list []box) {
	for at := from; at+8 <= to; {
		x := box{string(b[at+4 : at+8]), at, at + 8, at + int(binary.BigEndian.Uint32(b[at:]))}
		switch x.past - at {
		case 0:
			x.past = to
		case 1:
			if at+16 > to {
				return list
			}
			x.body, x.past = at+16, at+int(binary.BigEndian.Uint64(b[at+8:]))
		}
		if x.past < x.body || x.past > to {
			return list
		}
		list = append(list, x)
		at = x.past
	}
	return list
}

// IsMP4 tells an ISO BMFF object, whole or a segment, by the box it begins with.
func IsMP4(b []byte) bool {
	list := boxes(b, 0, len(b))
	if len(list) == 0 {
		return false
	}
	switch list[0].typ {
	case "ftyp", "styp", "moov", "moof", "sidx", "free", "skip", "prft", "emsg":
		return true
	}
	return false
}

// Protected tells whether a file has a moov with protected sample entries.
func Protected(b []byte) bool {
	for _, x := range boxes(b, 0, len(b)) {
		if x.typ == "moov" && IsMP4(b) && bytes.Contains(b[x.body:x.past], []byte("sinf")) {
			return true
		}
	}
	return false
}

// Plain turns media whose samples are clear but which still says that they are
// encrypted into media that any player reads: sample entries get the type that
// frma names, and what says how samples are encrypted becomes free space. It
// knows the boxes by their names alone and reads nothing of what they say.
func Plain(b []byte) []byte {
	out := bytes.Clone(b)
	plain(out, 0, len(out))
	return out
}

func plain(b []byte, from, to int) {
	for _, x := range boxes(b, from, to) {
		switch x.typ {
		case "moov", "trak", "mdia", "minf", "stbl", "moof", "traf":
			plain(b, x.body, x.past)
		case "stsd":
			plain(b, min(x.body+8, x.past), x.past)
		case "encv", "enca", "enct", "encs", "encm", "encu":
			plainEntry(b[x.at:x.past])
		case "senc", "saiz", "saio", "pssh", "uuid":
			copy(b[x.at+4:], "free")
		}
	}
}

// plainEntry is Plain of one sample entry. Its boxes begin at other places in
// every kind of entry, so they are looked for.
func plainEntry(entry []byte) {
	if i := bytes.Index(entry, []byte("frma")); i >= 0 && i+8 <= len(entry) {
		copy(entry[4:8], entry[i+4:])
	}
	if i := bytes.Index(entry, []byte("sinf")); i >= 0 {
		copy(entry[i:], "free")
	}
}

// Payload is what all mdat boxes of a file hold, one after another.
func Payload(b []byte) (all []byte) {
	for _, x := range boxes(b, 0, len(b)) {
		if x.typ == "mdat" {
			all = append(all, b[x.body:x.past]...)
		}
	}
	return all
}

// mediaFirst tells whether a file has media before its moov, as a progressive
// file may, which cannot be read from a pipe.
func mediaFirst(b []byte) bool {
	for _, x := range boxes(b, 0, len(b)) {
		switch x.typ {
		case "moov":
			return false
		case "mdat":
			return true
		}
	}
	return false
}
