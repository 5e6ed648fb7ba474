// Package catalog knows which asset depends on which content key. It scans a
// media root, follows every entry manifest to the closure of the objects it
// reaches, and keeps an inverted index in the control prefix, so that "who uses
// this key?" is one listing and never a scan.
//
// It reads manifests and init sections; it never writes to the media root, and
// it never holds key bytes longer than it takes to register a key object that
// the library already publishes.
//
// Manifests follow RFC 8216 and ISO/IEC 23009-1; references resolve as RFC 3986
// §5 says.
package catalog
