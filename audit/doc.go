// Package audit is the record of everything done with keys and media: who, from
// where, did or was refused what, to which key or asset, and why; and the proof
// that nobody changed it since.
//
// A record is appended before the effect it records. If it cannot be written,
// the caller must not go on: what is not on record did not happen. An effect
// that then fails gets a second record, with outcome [Failed]. Refusals are on
// record as well.
//
// A writer ([Log]) appends create-only objects to streams of its own, one object
// a record, numbered without gaps, each with the SHA-256 of the one before. It
// attempts number n+1 only when it knows that n stands, so a writer that fails or
// dies leaves no gap, and what may or may not have landed is the last of its
// stream:
//
//	audit/heads/<hour>/<stream>.json            the first record of a stream
//	audit/heads/<hour>/<stream>.closed          it was closed, and how long it is
//	audit/records/<hour>/<stream>/<number>.json the others
//
// A [Sequencer] puts the streams' objects in one order, in a Merkle tree
// (RFC 6962) whose checkpoints it signs. It takes a stream that has been silent
// for a while out of its sight by writing the closing entry in the next number,
// create-only: a writer that finds its number taken begins another stream, so no
// record can be written where none looks any more. The tree is laid out as
// c2sp.org/tlog-tiles says, its checkpoints as c2sp.org/tlog-checkpoint:
//
//	audit/log/state.json                what is sequenced, what is about to be, the lease
//	audit/log/checkpoint                the newest signed checkpoint
//	audit/log/checkpoints/<size>        every one that was signed
//	audit/log/tile/<level>/<n>[.p/<w>]  the tree's hashes
//	audit/log/tile/entries/<n>[.p/<w>]  the objects' bytes, 256 in a bundle
//
// [Verify] holds all of this against checkpoints that were kept elsewhere. It
// finds whatever was changed, removed, reordered or inserted once it was
// sequenced, and a log that was cut or forked. Before that, the hashes inside a
// stream give away all but the removal of its newest records, and whoever may
// write to the control store can add some: so sequence soon, and give the signing
// key and the checkpoints' other home to those who have no access to the store.
//
// It never holds key bytes, wrapped or not, and never changes or deletes a
// record. Times are UTC, RFC 3339. What a review may take a record for is in
// REVIEWS.md. It runs under GODEBUG=fips140=only: SHA-256
// and Ed25519.
package audit
