package pssh

import (
	"encoding/binary"

	"github.com/seed-6133abe0/rekey/key"
)

// Fields of Widevine's WidevinePsshData message.
const (
	widevineKeyIDs       = 2
	widevineEntitledKeys = 14
)

// Protobuf wire types (Protocol Buffers encoding).
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// widevine is where the KIDs stand in the message.
type widevine struct {
	keyIDs   []int // offsets of the 16-byte ones
	entitled int   // offset of the first entitled key, -1 for none
}

// parseWidevine walks the top level of the message; at is the message's place
// in the box, for errors.
func parseWidevine(data []byte, at int) (widevine, error) {
	const place = "pssh/widevine"
	w := widevine{entitled: -1}
	for i := 0; i < len(data); {
		start := i
		tag, n := binary.Uvarint(data[i:])
		if n <= 0 || tag>>3 == 0 {
			return w, malformed(place, at+start, "bad protobuf tag")
		}
		i += n
		switch tag & 7 {
		case wireVarint:
			_, n := binary.Uvarint(data[i:])
			if n <= 0 {
				return w, malformed(place, at+i, "bad protobuf varint")
			}
			i += n
		case wireFixed64:
			i += 8
		case wireFixed32:
			i += 4
		case wireBytes:
			size, n := binary.Uvarint(data[i:])
			if n <= 0 || size > uint64(len(data)-i-n) {
				return w, malformed(place, at+i, "protobuf field %d is longer than the message", tag>>3)
			}
			i += n
			if tag>>3 == widevineKeyIDs && size == 16 {
				w.keyIDs = append(w.keyIDs, i)
			}
			if tag>>3 == widevineEntitledKeys && w.entitled < 0 {
				w.entitled = start
			}
			i += int(size)
		default:
			return w, malformed(place, at+start, "protobuf wire type %d", tag&7)
		}
		if i > len(data) {
			return w, malformed(place, at+start, "protobuf field %d is longer than the message", tag>>3)
		}
	}
	return w, nil
}

// rekeyWidevine overwrites key_ids in data.
func rekeyWidevine(data []byte, at int, ch key.Changes) (bool, error) {
	w, err := parseWidevine(data, at)
	if err != nil {
		return false, err
	}
	updated := false
	for _, i := range w.keyIDs {
		if c, ok := ch[key.KID(data[i:i+16])]; ok {
			copy(data[i:], c.NewKID[:])
			updated = true
		}
	}
	if updated && w.entitled >= 0 {
		// An entitled key carries the content key itself, wrapped by Widevine.
		return false, unsupported("pssh/widevine", at+w.entitled, "entitled keys hold wrapped content keys")
	}
	return updated, nil
}
