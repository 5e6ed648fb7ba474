// Package aes128 rekeys HLS segments under METHOD=AES-128 (RFC 8216 §4.3.2.4,
// §5.2): each is a CBC message with PKCS #7 padding over a whole resource or a
// sub-range of it. The new ciphertext has the length of the old one, and is
// decrypted again and compared before it is returned.
//
// A message is taken for right only where its padding is right and it is whole
// media of a kind that RFC 8216 §3 names, to its last byte: MPEG-2 TS by its sync
// bytes, fMP4 (init sections and segments) by its top-level boxes, packed audio by
// its ID3 tags and frames, WebVTT by its header and encoding. The evidence is the
// chance that random bytes would pass as much. A single TS packet to three, or a
// single MP3 frame, leave it undecided.
//
// All else is refused with what it comes from: a wrong key, truncation or damage,
// a wrong IV, bytes that were never encrypted, no known media. Damage inside a
// packet's, box's or frame's payload shows in nothing; it is carried over as it is.
//
// A wrong IV that leaves the structures right does no harm either: the first block
// is D(C)⊕IV, and under the new key and the same IV it becomes E(D(C)⊕IV⊕IV).
//
// The package reads no playlist and makes no key.
package aes128
