// Package audit is the record of everything done with keys and media: who, on
// which host, did or was refused what, to which key or asset, and why.
//
// A record is appended before the effect it records. If it cannot be written,
// the caller must not go on: what is not on record did not happen. An effect
// that then fails gets a second record, with outcome [Failed]. Refusals are on
// record as well.
//
// Each record is one JSON object in the control store, under a name of its own
// that sorts by time and is never written twice:
//
//	audit/records/20060102T150405.000000000Z-0123456789abcdef.json
//
// It never holds key bytes, wrapped or not, and never changes or deletes a
// record. Times are UTC, RFC 3339.
package audit
