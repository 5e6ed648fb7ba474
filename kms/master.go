package kms

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// master is the secret that a Local KEK is derived from.
type master [32]byte

// A master key file is one line. In the clear it is the header, the KEK id and
// 64 lower-case hex digits:
//
//	rekey-master-key-v1 local:0123abcd <64 hex digits>
//
// The header tells a wrong file, the id a damaged one. sealed.go has the line of
// a file that is sealed under a passphrase.
const (
	masterHeader = "rekey-master-key-v1"
	maxLine      = 512 // bytes
)

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// readLine reads a file that only its owner may read. The caller clears what it
// returns.
func readLine(path string) ([]byte, error) {
	// Stat before Open: opening a FIFO would wait for a writer.
	if err := checkMode(path, os.Stat); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Again on what was opened: the name may have been changed in between.
	if err := checkMode(path, func(string) (fs.FileInfo, error) { return f.Stat() }); err != nil {
		return nil, err
	}
	line := make([]byte, maxLine)
	n, err := io.ReadFull(f, line)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		clear(line)
		return nil, fmt.Errorf("read master key file: %w", err)
	}
	return line[:n], nil
}

// checkMode refuses what is not a regular file or not its owner's alone.
func checkMode(path string, stat func(string) (fs.FileInfo, error)) error {
	info, err := stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %w: not a regular file", path, ErrMasterFile)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%s: %w: mode %04o lets group or others in, want 0600", path, ErrMasterFile, perm)
	}
	return nil
}

// headID is the KEK id that a master key file claims, and when it was made.
func headID(path string) (id string, made time.Time, err error) {
	line, err := readLine(path)
	if err != nil {
		return "", time.Time{}, err
	}
	defer clear(line)
	fields := bytes.Split(line, []byte(" "))
	if len(fields) < 3 || string(fields[0]) != masterHeader && string(fields[0]) != sealedHeader {
		return "", time.Time{}, fmt.Errorf("%s: %w: does not begin with %s or %s", path, ErrMasterFile, masterHeader, sealedHeader)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", time.Time{}, err
	}
	return string(fields[1]), info.ModTime().UTC(), nil
}

// parseMaster reads the line. A last line feed may be missing: an editor or a
// secret store may have dropped it.
func parseMaster(line []byte, ask func() ([]byte, error)) (*master, error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	fields := bytes.Split(line, []byte(" "))
	var m *master
	var err error
	switch string(fields[0]) {
	case masterHeader:
		m, err = parseClear(fields)
	case sealedHeader:
		m, err = parseSealed(fields, ask)
	default:
		return nil, fmt.Errorf("%w: does not begin with %s or %s", ErrMasterFile, masterHeader, sealedHeader)
	}
	if err != nil {
		return nil, err
	}
	id, err := m.id()
	if err == nil && id != string(fields[1]) {
		err = fmt.Errorf("%w: the key and the KEK id beside it do not belong together", ErrMasterFile)
	}
	if err != nil {
		clear(m[:])
		return nil, err
	}
	return m, nil
}

func parseClear(fields [][]byte) (*master, error) {
	var m master
	if len(fields) != 3 || len(fields[2]) != 2*len(m) {
		return nil, fmt.Errorf("%w: not one line of header, KEK id and %d hex digits", ErrMasterFile, 2*len(m))
	}
	if _, err := hex.Decode(m[:], fields[2]); err != nil {
		clear(m[:])
		return nil, fmt.Errorf("%w: key is not %d hex digits", ErrMasterFile, 2*len(m))
	}
	return &m, nil
}

// line spells the file in the clear. The caller clears it.
func (m *master) line() ([]byte, error) {
	id, err := m.id()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, maxLine)
	b = append(b, masterHeader+" "+id+" "...)
	b = hex.AppendEncode(b, m[:])
	return append(b, '\n'), nil
}

// createMaster writes a new master key at path, sealed if there is a passphrase;
// fs.ErrExist where a file stands. The file appears whole or not at all, and on
// disk before anything is wrapped under it: written and synced under a name of
// its own in the same directory, then linked, which fails if path exists.
func createMaster(path string, pass []byte) error {
	dir := filepath.Dir(path)
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("create master key file: %w", err)
	}
	line, err := newLine(pass)
	if err != nil {
		return fmt.Errorf("create master key file: %w", err)
	}
	defer clear(line)
	temp, err := writeTemp(dir, line)
	if err != nil {
		return fmt.Errorf("create master key file: %w", err)
	}
	defer os.Remove(temp)
	if err := os.Link(temp, path); err != nil {
		return fmt.Errorf("create master key file: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("create master key file: %w", err)
	}
	return nil
}

// newLine is the line of a new master key.
func newLine(pass []byte) ([]byte, error) {
	var m master
	_, _ = rand.Read(m[:]) // never fails: it crashes the program instead
	defer clear(m[:])
	if pass != nil {
		return m.sealedLine(pass)
	}
	return m.line()
}

// writeTemp writes and syncs a file under a new name in dir, in mode 0600
// (os.CreateTemp makes no other).
func writeTemp(dir string, body []byte) (name string, err error) {
	f, err := os.CreateTemp(dir, ".rekey-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// makeDir makes dir and its missing parents, for the owner only, and syncs the
// directory that each is named in.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if isMissing(err) {
		if err = makeDir(filepath.Dir(dir)); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
