// Package sampleaes rekeys HLS media segments under METHOD=SAMPLE-AES (RFC 8216
// §4.3.2.4): MPEG-2 TS and packed audio, as Apple's "MPEG-2 Stream Encryption
// Format for HTTP Live Streaming" says. Samples are decrypted under the old key
// and encrypted under the new one, with the same IV.
//
// It covers H.264 (stream type 0xdb), AAC in ADTS (0xcf), AC-3 (0xc1) and E-AC-3
// (0xc2), in single-program streams of 188-byte packets (ISO/IEC 13818-1). Every
// other elementary stream, every table and every adaptation field stays as it is.
// A length changes only where the emulation prevention of a NAL unit does; then
// that PES packet alone is packetised again, and where it needs more packets it
// gets sixteen of them, so that continuity counters after it stay true.
//
// The new segment is read again, decrypted and compared with the clear one before
// it is handed out: [Result.Clear] says what is compared.
//
// It reads no playlist and makes no key. SAMPLE-AES has no integrity check, so a
// wrong key shows only in the clear media: the evidence in the results speaks. A
// segment stands for itself: what needs a segment before or after it (a PES
// packet, NAL unit or frame that goes on) is refused.
package sampleaes
