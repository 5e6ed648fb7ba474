package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// checkFile refuses what cannot end well before anything is read or made, and
// returns where IVs begin.
func (a *app) checkFile(o fileOptions) (ivs uint64, err error) {
	switch {
	case o.in == "" || o.out == "":
		return 0, usagef("IN and OUT are each a path, or -")
	case o.keys == "":
		return 0, usagef("which keys? --keys FILE with lines OLDKID:OLDKEY [NEWKID:NEWKEY]")
	case o.keys == "-" && o.in == "-":
		return 0, usagef("IN and --keys cannot both be standard input")
	case o.in == "-" && terminal(a.stdin):
		return 0, usagef("standard input is a terminal; IN - takes media from a file or a pipe")
	case o.out == "-" && terminal(a.stdout):
		return 0, usagef("standard output is a terminal; OUT - writes media to a file or a pipe")
	case o.newKeys == "-":
		return 0, usagef("--new-keys takes a path: keys are not printed")
	}
	if o.out != "-" {
		if err := checkOut(o); err != nil {
			return 0, err
		}
	}
	if o.newKeys != "" {
		if err := checkNewKeys(o); err != nil {
			return 0, err
		}
	}
	if o.ivs == "" {
		return randomIVs(), nil
	}
	return parseIVs(o.ivs)
}

// checkOut refuses to put a file in place of anything but a regular file, and
// of that only with --force.
func checkOut(o fileOptions) error {
	there, err := os.Lstat(o.out)
	if errors.Is(err, fs.ErrNotExist) {
		return checkFolder("OUT", o.out)
	}
	if err != nil {
		return usagef("OUT: %v", err)
	}
	switch {
	case there.Mode()&fs.ModeSymlink != 0:
		return usagef("OUT %s is a symbolic link; give the place it leads to", o.out)
	case there.IsDir():
		return usagef("OUT %s is a directory", o.out)
	case !there.Mode().IsRegular():
		return usagef("OUT %s is not a regular file; OUT - writes to a stream", o.out)
	case !o.force:
		return usagef("OUT %s exists; --force replaces it", o.out)
	}
	if k, err := os.Stat(o.keys); o.keys != "-" && err == nil && os.SameFile(k, there) {
		return usagef("OUT %s is the file of --keys", o.out)
	}
	return nil
}

func checkNewKeys(o fileOptions) error {
	if _, err := os.Lstat(o.newKeys); err == nil {
		return usagef("%s exists; --new-keys makes a new file", o.newKeys)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return usagef("--new-keys: %v", err)
	}
	if err := checkFolder("--new-keys", o.newKeys); err != nil {
		return err
	}
	if o.out != "-" && samePlace(o.out, o.newKeys) {
		return usagef("OUT and --new-keys are both %s", o.out)
	}
	return nil
}

// checkFolder wants the directory that path is to lie in.
func checkFolder(what, path string) error {
	if strings.HasSuffix(path, "/") {
		return usagef("%s %s names a directory", what, path)
	}
	d, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return usagef("%s: %v", what, err)
	}
	if !d.IsDir() {
		return usagef("%s %s: %s is not a directory", what, path, filepath.Dir(path))
	}
	return nil
}

// samePlace tells whether two paths would be one file, if they were made. Case
// is looked over, as some file systems do.
func samePlace(x, y string) bool {
	if !strings.EqualFold(filepath.Base(x), filepath.Base(y)) {
		return false
	}
	a, err := os.Stat(filepath.Dir(x))
	if err != nil {
		return false
	}
	b, err := os.Stat(filepath.Dir(y))
	return err == nil && os.SameFile(a, b)
}

// terminal takes every character device for one, but /dev/null.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	s, err := f.Stat()
	if err != nil || s.Mode()&fs.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(s, null)
}

// randomIVs is a random place to begin, low enough for 2^32 samples.
func randomIVs() uint64 {
	var b [8]byte
	for {
		// crypto/rand.Read never returns an error; it crashes the program instead.
		_, _ = rand.Read(b[:])
		if n := binary.BigEndian.Uint64(b[:]); n <= 1<<64-1<<32 {
			return n
		}
	}
}

// parseIVs reads TRACK/NUMBER.
func parseIVs(s string) (uint64, error) {
	track, number, _ := strings.Cut(s, "/")
	t, err := strconv.ParseUint(track, 10, 16)
	if err != nil {
		return 0, usagef("--ivs %q: want TRACK/NUMBER, TRACK up to 65535", s)
	}
	n, err := strconv.ParseUint(number, 10, 24)
	if err != nil {
		return 0, usagef("--ivs %q: want TRACK/NUMBER, NUMBER up to 16777215", s)
	}
	ivs, err := structuredIVs(uint16(t), uint32(n))
	if err != nil {
		return 0, usagef("--ivs %q: %v", s, err)
	}
	return ivs, nil
}

// removeFile removes what may be gone already.
func removeFile(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncFolder makes the name of path durable.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
