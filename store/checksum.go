package store

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/minio/crc64nvme"
)

// CRC64NVME is the checksum that S3 keeps of an object, as it spells it in
// x-amz-checksum-crc64nvme: base64 of eight bytes, big-endian.
func CRC64NVME(b []byte) string { return spellCRC(crc64nvme.Checksum(b)) }

func spellCRC(crc uint64) string {
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], crc)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func readCRC(spelled string) (uint64, bool) {
	sum, err := base64.StdEncoding.DecodeString(spelled)
	if err != nil || len(sum) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(sum), true
}

// wholeCRC is the checksum of an object in parts; empty where one of them has
// none.
func wholeCRC(parts []Part) string {
	var whole uint64
	for _, p := range parts {
		crc, ok := readCRC(p.CRC64NVME)
		if !ok {
			return ""
		}
		whole = followedBy(whole, p.Size) ^ crc
	}
	if len(parts) == 0 {
		return ""
	}
	return spellCRC(whole)
}

// followedBy is the part that the bytes before take in the CRC of these and n
// more. A CRC is linear over GF(2): a zero byte is a matrix, n of them its power,
// by squaring. The inversions before and after cancel out.
func followedBy(crc uint64, n int64) uint64 {
	var m [64]uint64 // by columns; first one zero bit of the reflected register
	m[0] = crc64nvme.NVME
	for i := 1; i < 64; i++ {
		m[i] = 1 << (i - 1)
	}
	for range 3 {
		m = squared(&m)
	}
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			crc = times(&m, crc)
		}
		m = squared(&m)
	}
	return crc
}

func times(m *[64]uint64, v uint64) uint64 {
	var sum uint64
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 == 1 {
			sum ^= m[i]
		}
	}
	return sum
}

func squared(m *[64]uint64) [64]uint64 {
	var s [64]uint64
	for i := range m {
		s[i] = times(m, m[i])
	}
	return s
}
