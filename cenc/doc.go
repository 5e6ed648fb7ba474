// Package cenc rekeys media under ISO Common Encryption (ISO/IEC 23001-7:2016)
// in ISO BMFF files (ISO/IEC 14496-12): init sections and segments that are
// objects of their own (CMAF), and whole files, fragmented or progressive.
//
// Rekeying works in place. Protected ranges are decrypted and encrypted where
// they lie, IVs and KIDs are overwritten where they stand, and no length, offset
// or other byte changes. Everything is read again, decrypted and compared before
// it is handed out.
//
// Use ParseInit and a Rekeyer for segments, OpenFile for whole files. It covers
// the schemes cenc, cens, cbc1 and cbcs, and PIFF 1.1; what it does not rekey it
// refuses as ErrUnsupported, with the box. Where packagers read a clause
// differently, Readings say how this media is read.
//
// It is a pure function over bytes: no network, clock or log, and it never parses
// what it was not given bounds for. CENC has no integrity check, so a wrong key
// shows only in the clear media: the evidence in the results speaks.
package cenc
