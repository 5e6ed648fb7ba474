// Package cenc rekeys media under ISO Common Encryption (ISO/IEC 23001-7:2016)
// in fragmented ISO BMFF files (ISO/IEC 14496-12, CMAF): an init section and
// segments, each an object of its own.
//
// Rekeying works in place. Protected ranges are decrypted and encrypted where
// they lie, IVs and KIDs are overwritten where they stand, and no length, offset
// or other byte changes. Every segment is decrypted again and compared before it
// is handed out.
//
// It covers scheme 'cenc' (AES-CTR, 8- or 16-byte IVs, with and without
// subsamples) and says ErrUnsupported, with the box, for everything else. It is
// a pure function over bytes: no network, clock or log, and it never parses
// what it was not given bounds for. CENC has no integrity check, so a wrong key
// is no error here: the evidence in the Result speaks, and the caller decides.
package cenc
