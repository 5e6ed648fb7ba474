// Package conformance runs a corpus of assets that other packagers encrypted
// through the program and judges the result by the corpus's own digests, with
// independent decryptors. Run it with make conformance CORPUS=dir.
package conformance
