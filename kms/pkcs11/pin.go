package pkcs11

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/seed-6133abe0/rekey/kms"
)

const maxPIN = 255 // bytes

// readPIN reads the one line of a file that only its owner may read. What is no
// such file is kms.ErrDenied; no error holds any of the PIN. The caller clears
// what it returns.
func readPIN(path string) ([]byte, error) {
	// Stat before Open: opening a FIFO would wait for a writer.
	info, err := os.Stat(path)
	if err := checkPINFile(path, info, err); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: open file of the PIN: %w", kms.ErrDenied, err)
	}
	defer f.Close()
	// Again on what was opened: the name may have been changed in between.
	info, err = f.Stat()
	if err := checkPINFile(path, info, err); err != nil {
		return nil, err
	}
	b := make([]byte, maxPIN+3) // "\r\n", and one more to see that it is too long
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		clear(b)
		return nil, fmt.Errorf("%w: read file of the PIN: %w", kms.ErrDenied, err)
	}
	pin := bytes.TrimSuffix(bytes.TrimSuffix(b[:n], []byte("\n")), []byte("\r"))
	if len(pin) == 0 || len(pin) > maxPIN || bytes.ContainsAny(pin, "\r\n\x00") {
		clear(b)
		return nil, fmt.Errorf("%w: %s does not hold a PIN of 1 to %d bytes on one line", kms.ErrDenied, path, maxPIN)
	}
	return pin, nil
}

func checkPINFile(path string, info fs.FileInfo, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%w: file of the PIN: %w", kms.ErrDenied, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s, of the PIN, is not a regular file", kms.ErrDenied, path)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%w: %s, of the PIN, has mode %04o: others than its owner may use it, make it 0600", kms.ErrDenied, path, info.Mode().Perm())
	}
	return nil
}
