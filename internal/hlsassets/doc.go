// Package hlsassets runs whole HLS assets (fixtures/hls) through the program and
// judges what it publishes by other programs: OpenSSL for every AES-128 message,
// FFmpeg over HTTP for every playlist. Playlists may differ from what they were in
// key lines, references and byte ranges alone. It has only tests.
package hlsassets
