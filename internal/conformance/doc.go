// Package conformance runs a corpus of assets that other packagers encrypted
// through the program and judges the result by the corpus's own digests. Run it
// with make conformance CORPUS=dir.
//
// What a folder of the corpus is, its content says: with manifests it is an
// asset, which is scanned and rotated; MP4 files without one go through rekey
// file, each by itself. Protected MP4 must be rekeyed. It is judged twice: our
// own decryption of the new media, with what says that it is encrypted taken
// out by names alone, must be the clear media to FFmpeg; and FFmpeg's own
// decryption must be, wherever it reads the old media. AES-128 is judged by
// OpenSSL, message by message, and by FFmpeg over HTTP; SAMPLE-AES in MPEG-2 TS by
// FFmpeg, packet by packet; then both are rotated and judged once more. Manifests
// may differ in keys, references and byte ranges alone. No asset may be refused.
package conformance
