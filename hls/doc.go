// Package hls reads and edits HLS playlists and rekeys AES-128 segments, as RFC
// 8216 and draft-pantos-hls-rfc8216bis say.
//
// A playlist is never written anew: [Playlist.Edit] replaces the bytes of the
// URI lines and attribute values that change and leaves every other byte where
// it stands, line endings, comments and unknown tags included. A segment is one
// CBC message (RFC 8216 §5.2); its new ciphertext has the length of the old one,
// and is decrypted again and compared before it is returned.
//
// Byte ranges of clear media and of fMP4 under Common Encryption are read and
// never rewritten: rekeying changes no length. A segment that is a range of the
// file which also holds its init section says so, [MediaSegment.SingleFile].
//
// It never opens a reference, never makes a key, and quotes no key
// URI in an error: a data: URI may hold a key. SAMPLE-AES in MPEG-2 TS, and byte
// ranges and EXT-X-MAP under AES-128 are refused by [Playlist.Unsupported]; METHOD
// SAMPLE-AES and SAMPLE-AES-CTR over fMP4 are Common Encryption, and only their
// key tags are read here. Their IV attribute stays: a CBC scheme keeps its IVs.
package hls
