package store

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/minio/crc64nvme"
)

// CRC64NVME is the checksum that S3 keeps of an object, as it spells it in
// x-amz-checksum-crc64nvme: base64 of eight bytes, big-endian.
func CRC64NVME(b []byte) string {
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], crc64nvme.Checksum(b))
	return base64.StdEncoding.EncodeToString(sum[:])
}
