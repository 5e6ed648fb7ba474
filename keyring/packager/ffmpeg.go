package packager

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
)

// FFmpeg is one HLS AES-128 key.
type FFmpeg struct {
	KeyURI string // what the playlist is to say in EXT-X-KEY
	Key    key.ContentKey
	IV     key.IV
}

// maxFFmpegLine is below what the hls muxer reads of a line (MAX_URL_SIZE).
const maxFFmpegLine = 4000

// WriteFFmpeg writes a key-info file at path, for ffmpeg -hls_key_info_file path,
// and beside it the key file it names, path + ".key": 16 bytes. The info file
// has three lines: the key's URI, the key file's absolute path, the IV in hex.
// It is written last, so that it never names a key file that is not there; if it
// cannot be, the key file goes again.
//
// With one IV in the file FFmpeg uses it for every segment.
func WriteFFmpeg(path string, f FFmpeg) error {
	if err := writeFFmpeg(path, f); err != nil {
		return failed("FFmpeg key info", path, err)
	}
	return nil
}

func writeFFmpeg(path string, f FFmpeg) error {
	keyFile, err := filepath.Abs(path + ".key")
	if err != nil {
		return err
	}
	switch {
	case f.Key.IsZero():
		return fmt.Errorf("%w: no key", ErrInput)
	case !isLine(f.KeyURI):
		return fmt.Errorf("%w: the key URI is empty, longer than %d bytes, or has spaces or control characters", ErrInput, maxFFmpegLine)
	case len(keyFile) > maxFFmpegLine || strings.ContainsAny(keyFile, "\r\n"):
		return fmt.Errorf("%w: the path is longer than %d bytes, or has line breaks", ErrInput, maxFFmpegLine)
	}
	raw := f.Key.RevealSecretBytes()
	defer clear(raw[:])
	if err := create(keyFile, raw[:]); err != nil {
		return err
	}
	info := f.KeyURI + "\n" + keyFile + "\n" + hex.EncodeToString(f.IV[:]) + "\n"
	if err := create(path, []byte(info)); err != nil {
		return errors.Join(err, os.Remove(keyFile))
	}
	return nil
}

// isLine: printable ASCII without spaces, as a URI is, and without the quote that
// would end the playlist's attribute.
func isLine(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '"' {
			return false
		}
	}
	return s != "" && len(s) <= maxFFmpegLine
}
