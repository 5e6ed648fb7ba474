package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxSecret bounds tokens, role IDs and secret IDs, in bytes. Batch tokens are
// the longest.
const maxSecret = 8 << 10

// readSecret reads the one line of a file that is its owner's alone. Errors show
// the path and nothing of what it holds.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	line, err := readLine(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("read secret %s: %w", path, err)
	}
	return line, nil
}

func readLine(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return "", fmt.Errorf("mode %04o lets group or others in, want 0600", perm)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	return parseSecret(b)
}

// parseSecret takes printable ASCII without spaces: it goes into a header. One
// line feed may follow.
func parseSecret(b []byte) (string, error) {
	if len(b) > maxSecret {
		return "", fmt.Errorf("longer than %d bytes", maxSecret)
	}
	b = bytes.TrimSuffix(b, []byte("\n"))
	if len(b) == 0 {
		return "", errors.New("empty")
	}
	if i := bytes.IndexFunc(b, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
		return "", fmt.Errorf("not one line of printable ASCII: byte %d", i)
	}
	return string(b), nil
}
