package aes128

import (
	"crypto/aes"
	"errors"
	"math"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls"
)

// judge decides what a decrypted message is: media, of which random bytes would
// hardly have the structure and the padding, or an error that says which of the
// two is wrong and what that comes from. padded is the message with its padding.
func judge(object string, start int64, padded []byte) (Result, error) {
	pad, padOK := padding(padded)
	media := padded[:len(padded)-pad]
	s := recognize(media)
	if padOK && s.whole {
		var ev evidence.Evidence
		// Random bytes have right padding with 1/256 + 1/256² + … = 1/255.
		ev.Pass(int64(len(padded)), min(1, math.Pow(10, s.log10)*formats)/255)
		return Result{Clear: media, Evidence: ev}, nil
	}
	if !s.whole && !s.credible() {
		rest := recognizeRest(media)
		if s.format == rest.format { // too little was right before the damage
			s.log10 = rest.log10
		} else {
			s = rest
		}
	}
	return refuse(object, start, s, padded, padOK)
}

// refuse makes the error of a message that is not right, and the evidence: only
// what is neither media nor padded speaks against the key.
func refuse(object string, start int64, s sight, padded []byte, padOK bool) (Result, error) {
	e := &hls.Error{Object: object, Offset: start, Class: hls.ErrMalformed}
	n := int64(len(padded))
	var ev evidence.Evidence
	switch {
	case !s.credible() && !padOK:
		ev.Fail(n)
		e.Class, e.Reason = hls.ErrWrongKey, "neither known media nor PKCS #7 padding after decryption"
		return Result{Evidence: ev}, e
	case !s.credible() && len(padded) == aes.BlockSize && padded[0] == aes.BlockSize:
		e.Class, e.Reason = hls.ErrUnsupported, "nothing but padding: the message holds no media"
	case !s.credible():
		e.Class = hls.ErrUnsupported
		e.Reason = "the padding is right and the message is no media that HLS knows: another format, or a wrong key or IV (one wrong key in 255 leaves right padding)"
	case s.noStart && padOK:
		e.Reason = s.format + " is right after its first block: the IV is not the message's, or its first block is damaged"
	case s.noStart:
		e.Reason = s.format + " is right but for its first block and its padding: truncated, and the IV is wrong or the first block damaged"
	case !padOK && (s.whole || s.cut || s.at >= len(padded)-2*aes.BlockSize):
		e.Offset += n - aes.BlockSize
		e.Reason = s.format + " is right and the PKCS #7 padding is not: the message is truncated or damaged at its end"
	case !padOK:
		e.Offset += int64(s.at)
		e.Reason = s.format + " is right up to here and the PKCS #7 padding is not: the message is truncated or damaged: " + s.reason
	case errors.Is(s.class, hls.ErrUnsupported):
		e.Offset += int64(s.at)
		e.Class, e.Reason = hls.ErrUnsupported, "ID3 tags, and then no frame of AAC in ADTS, MP3, AC-3 or E-AC-3"
	default:
		e.Offset += int64(s.at)
		e.Reason = s.format + " is right up to here, and the padding, but the message is damaged or was cut before it was encrypted: " + s.reason
	}
	ev.Look(n)
	return Result{Evidence: ev}, e
}

// refuseClear refuses stored bytes that are media as they stand: a message that is
// listed as encrypted and is not. What is no such thing gives nil.
func refuseClear(object string, start int64, stored []byte) error {
	s := recognize(stored)
	if s.format == "" || s.log10 >= 1.5*credible {
		return nil
	}
	return &hls.Error{Object: object, Offset: start, Class: hls.ErrMalformed,
		Reason: "the stored bytes are clear media already (" + s.format + "): listed as encrypted, and not encrypted"}
}

// padding checks PKCS #7 padding (RFC 5652 §6.3): n bytes of value n, 1 to 16. It
// is 0 where it is wrong.
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
