// Package aesbulk runs AES over the many byte ranges of a media object: CTR as
// ISO/IEC 23001-7 counts (§9.3: the low 64 bits are the block counter and wrap
// by themselves) or over all 128 bits, and CBC as RFC 8216 and the CBC schemes
// of ISO/IEC 23001-7 use it (whole blocks, no padding; in pattern encryption,
// §9.6, the chain runs over the encrypted blocks only).
//
// A CTR, CBCEncrypter or CBCDecrypter is made once for a key and started for
// every sample; starting and running it allocates nothing. None of them is for
// more than one goroutine.
//
// The package uses the standard library's AES only, never holds key bytes
// (callers pass a cipher.Block), never authenticates and never checks padding.
// With GODEBUG=fips140=on or only it works the same; its CBC chains the
// module's AES blocks itself, so that FIPS 140's service indicator does not
// count it as approved.
package aesbulk
