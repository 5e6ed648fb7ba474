// Package audio finds the frames of packed audio (RFC 8216 §3.4) and of audio
// elementary streams: ID3v2 tags before and between them (ID3v2.4 structure §3.1,
// §3.4), AAC in ADTS (ISO/IEC 14496-3 §1.A.2), MPEG Audio Layer III (ISO/IEC
// 11172-3 §2.4.1.3, with the low sampling frequencies of ISO/IEC 13818-3 and those
// of MPEG-2.5), AC-3 (ETSI TS 102 366 §4.3.1) and Enhanced AC-3 (its Annex E).
//
// It reads headers and checksums and never decodes, changes or allocates. Bad
// input is an *hls.Error without an object, its offset counted in the bytes given.
package audio
