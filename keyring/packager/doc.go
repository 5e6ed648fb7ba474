// Package packager writes content keys into the files that packagers take them
// from: Shaka Packager's raw keys, FFmpeg's HLS key-info file and Bento4's
// --key arguments. A file spares the argument list, which every user of the
// machine can read; Bento4 takes keys in no other way, so its list ends there.
//
// Every file is written for its owner only (0600), whole or not at all, synced,
// and never over another: a name that is taken is fs.ErrExist. No key is in any
// error. Deleting a file when the packager is done is for the caller; a disk may
// keep what was deleted.
//
// The syntaxes are those of Shaka Packager's "Using Raw Key" and Abseil's flag
// files, of FFmpeg's hls muxer (hls_key_info_file), and of Bento4's mp4decrypt
// (--key <KID>:<key>, both in hex).
package packager
