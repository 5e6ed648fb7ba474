package aes128

import (
	"bytes"
	"crypto/aes"
	"errors"
	"fmt"
	"math"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls"
)

// MPEG-2 TS (ISO/IEC 13818-1 §2.4.3.2): packets of 188 bytes that begin with the
// sync byte.
const (
	tsPacket = 188
	tsSync   = 0x47
)

// maxSyncs bounds how many sync bytes count as evidence in one segment: more
// would only make a small number smaller.
const maxSyncs = 64

// judgeClear decides from the padding and the TS sync bytes what a decrypted
// segment is. padded is the decrypted segment with its padding.
func judgeClear(object string, start int64, padded []byte) (Result, error) {
	pad, padOK := padding(padded)
	media := padded
	if padOK {
		media = padded[:len(padded)-pad]
	}
	good, total, firstLost := syncs(media)
	var ev evidence.Evidence
	fail := func(class error, at int, reason string) (Result, error) {
		if errors.Is(class, hls.ErrWrongKey) {
			ev.Fail(int64(len(padded)))
		} else {
			ev.Look(int64(len(padded)))
		}
		return Result{Evidence: ev}, &hls.Error{Object: object, Offset: start + int64(at), Class: class, Reason: reason}
	}
	isTS := 2*good > total
	switch {
	case !isTS && !padOK:
		return fail(hls.ErrWrongKey, 0, "no TS sync bytes and no PKCS #7 padding after decryption")
	case isTS && !padOK:
		return fail(hls.ErrMalformed, len(padded)-aes.BlockSize,
			"TS sync bytes are right and the PKCS #7 padding is not: the segment is truncated or damaged at its end")
	case isTS && good < total && firstLost == 0:
		return fail(hls.ErrMalformed, 0, "every TS packet but the first is right: the IV is not the segment's, or its first block is damaged")
	case isTS && good < total:
		return fail(hls.ErrMalformed, firstLost,
			fmt.Sprintf("TS sync byte lost in %d of %d packets: the segment is damaged", total-good, total))
	case !isTS:
		return fail(hls.ErrUnsupported, 0, otherMedia(media))
	}
	// Random bytes have right padding with 1/256 + 1/256² + … = 1/255, and each
	// sync byte with 1/256.
	ev.Pass(int64(len(padded)), math.Pow(256, -float64(min(good, maxSyncs)))/255)
	return Result{Clear: media, Evidence: ev}, nil
}

// padding checks PKCS #7 padding (RFC 5652 §6.3): n bytes of value n, 1 to 16.
func padding(b []byte) (int, bool) {
	n := int(b[len(b)-1])
	if n == 0 || n > aes.BlockSize || n > len(b) {
		return 0, false
	}
	for _, c := range b[len(b)-n:] {
		if int(c) != n {
			return 0, false
		}
	}
	return n, true
}

// syncs counts the packets that begin in b and those with the sync byte.
func syncs(b []byte) (good, total, firstLost int) {
	firstLost = -1
	for i := 0; i < len(b); i += tsPacket {
		total++
		if b[i] == tsSync {
			good++
		} else if firstLost < 0 {
			firstLost = i
		}
	}
	return good, total, firstLost
}

// otherMedia says why a segment with right padding and no TS packets is refused.
func otherMedia(b []byte) string {
	after := bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	switch {
	case bytes.HasPrefix(after, []byte("WEBVTT")):
		return "AES-128 over WebVTT"
	case bytes.HasPrefix(b, []byte("ID3")), len(b) > 1 && b[0] == 0xff && b[1]&0xe0 == 0xe0:
		return "AES-128 over packed audio (RFC 8216 §3.4)"
	case len(b) >= 8 && isBoxType(string(b[4:8])):
		return "AES-128 over fMP4"
	default:
		return "the padding is right and the segment is not MPEG-2 TS: another format, or a wrong key or IV (one wrong key in 255 leaves right padding)"
	}
}

func isBoxType(t string) bool {
	switch t {
	case "styp", "ftyp", "moof", "moov", "sidx", "emsg", "prft":
		return true
	default:
		return false
	}
}
