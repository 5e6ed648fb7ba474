// Package hls reads and edits HLS playlists, as RFC 8216 and
// draft-pantos-hls-rfc8216bis ("rfc8216bis") say. What the segments hold is the
// matter of its subpackages, of package cenc, and of nothing here.
//
// A playlist is never written anew: [Playlist.Edit] replaces the bytes of the URI
// lines, attribute values and byte ranges that change and leaves every other byte
// where it stands: line endings, byte order mark, comments, unknown tags, blanks
// and the order of attributes. What it returns was read again and says what was
// wanted.
//
// Variables (EXT-X-DEFINE) are filled in to find out where a reference leads. A
// reference that moves is written out; its query may keep them. A query that only
// the player knows ([Context.AnyQuery]) is left to it, and a playlist whose paths
// or key systems hang on it is refused.
//
// Key tags of Common Encryption (METHOD SAMPLE-AES over fMP4, SAMPLE-AES-CTR) and
// of SAMPLE-AES name the new key after [RekeyKeyTag]: in KEYID, in data: URIs that
// hold a KID, a pssh box or a PlayReady object, and where a URI spells the KID in
// hex. Where a tag names a KID in a way that is not rewritten, it is refused. The
// IV attribute stays. New DRM data of the tag's system (key.Change.PSSH) stands in
// the place of the box or object: that of KEYID, where the tag has one; where it
// would be several, the old stays with the new KIDs in it ([OldDRMData]).
//
// The package never opens a reference, never makes a key, and quotes no key URI in
// an error: a data: URI may hold a key. A playlist that breaks a rule which its
// reading depends on is malformed, by line and column. [Playlist.Unsupported]
// refuses what is legal and not handled, by name and line: live playlists and
// delta updates, unknown METHODs, AES-128 of other KEYFORMATs or with its key in
// the playlist, EXT-X-MAP under AES-128 without an IV, and partial segments whose
// encryption is that of their segment.
//
// Limits: [MaxPlaylistBytes], [MaxPlaylistLines], 256 attributes in a list, 32
// KEYFORMATs in force at once, 1024 variables of 64 KiB, and MaxPlaylistBytes of
// text that variables were filled into. Memory stays below 8 times the playlist.
package hls
