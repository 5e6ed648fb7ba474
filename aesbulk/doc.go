// Package aesbulk runs AES over the many byte ranges of a media object: CTR as
// ISO/IEC 23001-7 counts (§9.3: the low 64 bits are the block counter and wrap
// by themselves), and CBC as RFC 8216 and the CBC schemes of ISO/IEC 23001-7
// use it (whole blocks, no padding).
//
// It uses the standard library's AES only, never holds key bytes (callers pass
// a cipher.Block), never authenticates and never checks padding.
package aesbulk
