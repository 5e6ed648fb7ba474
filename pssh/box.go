package pssh

import (
	"bytes"
	"encoding/binary"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// Box is a 'pssh' box. Data aliases the bytes that were parsed.
type Box struct {
	System  [16]byte
	Version uint8
	KIDs    []key.KID // version 1's list
	Data    []byte

	kidsAt, dataAt int
}

// Parse reads one whole pssh box (ISO/IEC 23001-7 §8.1.1).
func Parse(box []byte) (Box, error) {
	const header = 8 + 4 + 16 // size, type, version and flags, SystemID
	if len(box) < header+4 {
		return Box{}, malformed("pssh", 0, "%d bytes are too few for the box", len(box))
	}
	if string(box[4:8]) != "pssh" {
		return Box{}, malformed("pssh", 4, "box type is %q", box[4:8])
	}
	if size := binary.BigEndian.Uint32(box); uint64(size) != uint64(len(box)) {
		return Box{}, malformed("pssh", 0, "box size %d, but %d bytes", size, len(box))
	}
	b := Box{Version: box[8], System: [16]byte(box[12:28])}
	if b.Version > 1 {
		return Box{}, unsupported("pssh", 8, "version %d", b.Version)
	}
	at := header
	if b.Version == 1 {
		n := uint64(binary.BigEndian.Uint32(box[at:]))
		at += 4
		if n*16 > uint64(len(box)-at) {
			return Box{}, malformed("pssh", at-4, "%d KIDs do not fit into the box", n)
		}
		b.kidsAt = at
		for range n {
			b.KIDs = append(b.KIDs, key.KID(box[at:at+16]))
			at += 16
		}
	}
	if len(box)-at < 4 {
		return Box{}, malformed("pssh", at, "box ends before DataSize")
	}
	size := binary.BigEndian.Uint32(box[at:])
	at += 4
	if uint64(size) != uint64(len(box)-at) {
		return Box{}, malformed("pssh", at-4, "DataSize is %d, but %d bytes are left", size, len(box)-at)
	}
	b.dataAt, b.Data = at, box[at:]
	return b, nil
}

// KIDs lists the KIDs a pssh box names: version 1's list and those in Widevine
// and PlayReady data, each once, in order of appearance.
func KIDs(box []byte) ([]key.KID, error) {
	b, err := Parse(box)
	if err != nil {
		return nil, err
	}
	inside, err := b.dataKIDs()
	if err != nil {
		return nil, err
	}
	return unique(append(b.KIDs, inside...)), nil
}

// dataKIDs lists the KIDs in the system's data, where it is one that is read.
func (b *Box) dataKIDs() (kids []key.KID, err error) {
	switch b.System {
	case Widevine:
		ids, err := parseWidevine(b.Data, b.dataAt)
		if err != nil {
			return nil, err
		}
		for _, id := range ids.keyIDs {
			kids = append(kids, key.KID(b.Data[id:id+16]))
		}
	case PlayReady:
		return PROKIDs(b.Data)
	}
	return kids, nil
}

// Rekey returns a copy of box in which every KID of ch is replaced, and
// whether anything was. The length is the same always. Data of a system that
// is not known stays as it is, its KID list too: the list alone would
// contradict the data.
func Rekey(box []byte, ch key.Changes) (out []byte, updated bool, err error) {
	b, err := Parse(box)
	if err != nil {
		return nil, false, err
	}
	out = bytes.Clone(box)
	data := out[b.dataAt:]
	switch {
	case b.System == Widevine:
		updated, err = rekeyWidevine(data, b.dataAt, ch)
	case b.System == PlayReady:
		updated, err = rekeyPRO(data, ch)
	case len(b.Data) != 0 && b.System != Common:
		return out, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	for i, kid := range b.KIDs {
		if c, ok := ch[kid]; ok {
			copy(out[b.kidsAt+16*i:], c.NewKID[:])
			updated = true
		}
	}
	return out, updated, nil
}

// CheckKey says whether k is the key of kid, by PlayReady's CHECKSUM: exact if
// the box has one for kid, else Undecided.
func CheckKey(box []byte, kid key.KID, k key.ContentKey) evidence.Verdict {
	b, err := Parse(box)
	if err != nil || b.System != PlayReady {
		return evidence.Undecided
	}
	return CheckKeyPRO(b.Data, kid, k)
}

func unique(kids []key.KID) []key.KID {
	var out []key.KID
	seen := make(map[key.KID]bool, len(kids))
	for _, k := range kids {
		if !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}
