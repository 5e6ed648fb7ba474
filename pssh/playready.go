package pssh

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// recordHeader is the type of the PlayReady object record that holds a
// WRMHEADER (PlayReady Header Specification §2.2).
const recordHeader = 1

// checksumSize is how much of AES-ECB(key, KID) a CHECKSUM keeps (§3.2).
const checksumSize = 8

// PROKIDs lists the KIDs a PlayReady object names, each once.
func PROKIDs(pro []byte) ([]key.KID, error) {
	entries, err := parsePRO(pro)
	if err != nil {
		return nil, err
	}
	var kids []key.KID
	for _, e := range entries {
		kids = append(kids, e.kid)
	}
	return unique(kids), nil
}

// RekeyPRO returns a copy of a PlayReady object in which every KID of ch is
// replaced, with its CHECKSUM made anew, and whether anything was. The length
// is the same always.
func RekeyPRO(pro []byte, ch key.Changes) ([]byte, bool, error) {
	out := bytes.Clone(pro)
	updated, err := rekeyPRO(out, ch)
	if err != nil {
		return nil, false, err
	}
	return out, updated, nil
}

func rekeyPRO(pro []byte, ch key.Changes) (bool, error) {
	entries, err := parsePRO(pro)
	if err != nil {
		return false, err
	}
	updated := false
	for _, e := range entries {
		c, ok := ch[e.kid]
		if !ok {
			continue
		}
		if e.checksum.set() {
			if !e.aes {
				return false, unsupported(e.place, e.checksum.at, "CHECKSUM of an algorithm other than AES")
			}
			sum := checksum(c.NewKID, c.New)
			e.checksum.write(pro, base64.StdEncoding.EncodeToString(sum[:]))
		}
		guid := c.NewKID.GUID()
		e.value.write(pro, base64.StdEncoding.EncodeToString(guid[:]))
		updated = true
	}
	return updated, nil
}

// CheckKeyPRO is CheckKey for a PlayReady object.
func CheckKeyPRO(pro []byte, kid key.KID, k key.ContentKey) evidence.Verdict {
	entries, err := parsePRO(pro)
	if err != nil || k.IsZero() {
		return evidence.Undecided
	}
	verdict := evidence.Undecided
	for _, e := range entries {
		if e.kid != kid || !e.checksum.set() || !e.aes {
			continue
		}
		want := checksum(kid, k)
		if subtle.ConstantTimeCompare(want[:], e.sum) != 1 {
			return evidence.Wrong
		}
		verdict = evidence.Right
	}
	return verdict
}

// checksum is the first 8 bytes of the KID, in GUID order, encrypted under the
// content key with AES-ECB (§3.2).
func checksum(kid key.KID, k key.ContentKey) [checksumSize]byte {
	block := kid.GUID()
	k.Block().Encrypt(block[:], block[:])
	return [checksumSize]byte(block[:checksumSize])
}

// proKID is one KID of a WRMHEADER, and where it stands in the object.
type proKID struct {
	place    string
	kid      key.KID
	value    text
	checksum text
	sum      []byte
	aes      bool
}

// parsePRO walks the records of a PlayReady object: a 32-bit length, a 16-bit
// count, then records of 16-bit type, 16-bit length and value, little-endian
// (§2.1).
func parsePRO(pro []byte) ([]proKID, error) {
	if len(pro) < 6 {
		return nil, malformed("pro", 0, "%d bytes are too few for a PlayReady object", len(pro))
	}
	if n := binary.LittleEndian.Uint32(pro); uint64(n) != uint64(len(pro)) {
		return nil, malformed("pro", 0, "length field says %d, but %d bytes", n, len(pro))
	}
	var entries []proKID
	at := 6
	for i := range int(binary.LittleEndian.Uint16(pro[4:])) {
		place := fmt.Sprintf("pro/record[%d]", i)
		if len(pro)-at < 4 {
			return nil, malformed(place, at, "object ends before the record")
		}
		kind, size := binary.LittleEndian.Uint16(pro[at:]), int(binary.LittleEndian.Uint16(pro[at+2:]))
		at += 4
		if size > len(pro)-at {
			return nil, malformed(place, at-2, "record of %d bytes, but %d are left", size, len(pro)-at)
		}
		if kind == recordHeader {
			more, err := parseWRMHeader(place+"/WRMHEADER", pro[:at+size], at)
			if err != nil {
				return nil, err
			}
			entries = append(entries, more...)
		}
		at += size
	}
	return entries, nil
}
