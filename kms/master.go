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
)

// master is the secret that a Local KEK is derived from.
type master [32]byte

// A master key file is one line: the header, the KEK id and 64 lower-case hex
// digits. The header tells a wrong file, the id a damaged one.
const (
	masterHeader   = "rekey-master-key-v1"
	masterLineSize = len(masterHeader) + 1 + len("local:00000000") + 1 + 64 + 1
)

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// readMaster reads and checks the file. The caller clears what it returns.
func readMaster(path string) (*master, error) {
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
	line := make([]byte, masterLineSize+1)
	defer clear(line)
	n, err := io.ReadFull(f, line)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read master key file: %w", err)
	}
	m, err := parseMaster(line[:n])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
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

// parseMaster reads the line. A last line feed may be missing: an editor or a
// secret store may have dropped it.
func parseMaster(line []byte) (*master, error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if len(line) != masterLineSize-1 {
		return nil, fmt.Errorf("%w: not one line of %d characters", ErrMasterFile, masterLineSize-1)
	}
	fields := bytes.Split(line, []byte(" "))
	if len(fields) != 3 || string(fields[0]) != masterHeader {
		return nil, fmt.Errorf("%w: does not begin with %s", ErrMasterFile, masterHeader)
	}
	var m master
	if n, err := hex.Decode(m[:], fields[2]); err != nil || n != len(m) {
		clear(m[:])
		return nil, fmt.Errorf("%w: key is not %d hex digits", ErrMasterFile, 2*len(m))
	}
	id, err := m.id()
	if err == nil && id != string(fields[1]) {
		err = fmt.Errorf("%w: the key and the KEK id beside it do not belong together", ErrMasterFile)
	}
	if err != nil {
		clear(m[:])
		return nil, err
	}
	return &m, nil
}

// line spells the file. The caller clears it.
func (m *master) line() ([]byte, error) {
	id, err := m.id()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, masterLineSize)
	b = append(b, masterHeader+" "+id+" "...)
	b = hex.AppendEncode(b, m[:])
	return append(b, '\n'), nil
}

// createMaster writes a new master key at path. The file appears whole or not
// at all, and on disk before anything is wrapped under it: written and synced
// under a name of its own in the same directory, then linked, which fails if
// path exists. Losing that race is no error: the winner's file stands.
func createMaster(path string) error {
	dir := filepath.Dir(path)
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("create master key file: %w", err)
	}
	temp, err := writeTemp(dir)
	if err != nil {
		return fmt.Errorf("create master key file: %w", err)
	}
	defer os.Remove(temp)
	if err := os.Link(temp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create master key file: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("create master key file: %w", err)
	}
	return nil
}

// writeTemp writes and syncs a new master key under a new name in dir, in mode
// 0600 (os.CreateTemp makes no other).
func writeTemp(dir string) (name string, err error) {
	var m master
	_, _ = rand.Read(m[:]) // never fails: it crashes the program instead
	defer clear(m[:])
	line, err := m.line()
	if err != nil {
		return "", err
	}
	defer clear(line)
	f, err := os.CreateTemp(dir, ".rekey-master-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(line)
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
