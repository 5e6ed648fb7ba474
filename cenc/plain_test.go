package cenc

import (
	"bytes"
	"encoding/binary"
)

// plain turns a clear form into a file that any player reads: protected sample
// entries get their clear type back, and what says how samples are encrypted
// becomes free space. It goes by names alone, apart from the code under test.
func plain(b []byte) []byte {
	out := bytes.Clone(b)
	var walk func(from, to int)
	walk = func(from, to int) {
		for at := from; at+8 <= to; {
			size, head := int(binary.BigEndian.Uint32(out[at:])), 8
			if size == 1 && at+16 <= to {
				size, head = int(binary.BigEndian.Uint64(out[at+8:])), 16
			}
			if size == 0 {
				size = to - at
			}
			if size < head || at+size > to {
				return
			}
			typ := out[at+4 : at+8]
			switch string(typ) {
			case "moov", "trak", "mdia", "minf", "stbl", "moof", "traf":
				walk(at+head, at+size)
			case "stsd":
				walk(at+head+8, at+size)
			case "encv", "enca", "enct", "encs":
				if i := bytes.Index(out[at:at+size], []byte("frma")); i > 0 {
					copy(typ, out[at+i+4:])
				}
				if i := bytes.Index(out[at:at+size], []byte("sinf")); i > 0 {
					copy(out[at+i:], "free")
				}
			case "senc", "saiz", "saio", "uuid", "pssh":
				copy(typ, "free")
			}
			at += size
		}
	}
	walk(0, len(out))
	return out
}
