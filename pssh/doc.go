// Package pssh reads and rekeys protection system data: the 'pssh' box of
// ISO/IEC 23001-7 §8.1 (versions 0 and 1), the Widevine protobuf and the
// PlayReady object (PlayReady Header Specification, WRMHEADER 4.0 to 4.3) in it.
//
// Rekeying overwrites KIDs, and PlayReady's CHECKSUM, where they stand: the
// length never changes and no other byte does. Systems whose data it does not
// know are kept as they are. Where a key service gave whole new boxes with the new
// key (key.Change.PSSH), Replace and ReplacePRO say which of them stand in the
// place of the old; a system that was not there is never added. It never reads a licence, never fetches anything
// and never puts key bytes anywhere but into the CHECKSUM's AES.
package pssh
