package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
)

// Bounds of a key file.
const (
	maxKeyLine  = 4 << 10 // bytes
	maxKeyLines = 1 << 16 // with keys
)

// fileKey is a line of a key file.
type fileKey struct {
	line   int
	kid    key.KID
	change key.Change
	minted bool
}

// fileKeys is a key file, in its order.
type fileKeys []fileKey

// readFileKeys reads the key file, which may be a pipe.
func (a *app) readFileKeys(ctx context.Context, name string) (fileKeys, error) {
	if name == "-" {
		return parseFileKeys("standard input", patientReader{ctx, a.stdin})
	}
	f, err := await(ctx, func() (*os.File, error) { return os.Open(name) })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, usagef("open keys: %v", err)
	}
	defer func() { _ = f.Close() }()
	return parseFileKeys(name, patientReader{ctx, f})
}

// parseFileKeys reads lines OLDKID:OLDKEY [NEWKID:NEWKEY]. Its errors are
// *keyring.Error with the line, and quote nothing of what was read, or come
// from r.
func parseFileKeys(name string, r io.Reader) (fileKeys, error) {
	buf := make([]byte, maxKeyLine)
	defer clear(buf)
	sc := bufio.NewScanner(r)
	sc.Buffer(buf, maxKeyLine)
	var list fileKeys
	line := 1
	// A failed read hands out the beginning of a line first: look for the error
	// before the text.
	for ; sc.Scan() && sc.Err() == nil; line++ {
		text := sc.Bytes()
		if line == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		text = bytes.TrimSpace(text)
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		k, reason := parseFileKey(text)
		if reason == "" && len(list) == maxKeyLines {
			reason = fmt.Sprintf("more than %d keys", maxKeyLines)
		}
		if reason != "" {
			return nil, badKeyFile(name, line, reason)
		}
		k.line = line
		list = append(list, k)
	}
	switch err := sc.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, badKeyFile(name, line, fmt.Sprintf("longer than %d bytes", maxKeyLine))
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case len(list) == 0:
		return nil, badKeyFile(name, 0, "no key in it")
	}
	return list, list.check(name)
}

func badKeyFile(name string, line int, reason string) error {
	return &keyring.Error{Object: name, Offset: -1, Line: line, Reason: reason, Class: keyring.ErrSyntax}
}

// check refuses keys that must not be used.
func (l fileKeys) check(name string) error {
	for _, k := range l {
		if weakKey(k.change) {
			return &keyring.Error{
				Object: name, Offset: -1, Line: k.line, Class: keyring.ErrWeak,
				Reason: "the new key is a placeholder or its own KID",
			}
		}
	}
	if line, reason := l.clash(); reason != "" {
		return badKeyFile(name, line, reason)
	}
	return nil
}

// parseFileKey reads one line that is not empty; what it lacks is made.
func parseFileKey(text []byte) (k fileKey, reason string) {
	const want = "want OLDKID:OLDKEY or OLDKID:OLDKEY NEWKID:NEWKEY, and comments on lines of their own"
	pairs := bytes.Fields(text)
	if len(pairs) > 2 {
		return k, want
	}
	if k.kid, k.change.Old, reason = parsePair("old", pairs[0]); reason != "" {
		return k, reason
	}
	if len(pairs) == 1 {
		k.minted, k.change.NewKID, k.change.New = true, key.NewKID(), key.NewContentKey()
		return k, ""
	}
	if k.change.NewKID, k.change.New, reason = parsePair("new", pairs[1]); reason != "" {
		return k, reason
	}
	switch {
	case k.change.NewKID == k.kid:
		reason = "the new KID is the old KID"
	case k.change.New.Equal(k.change.Old):
		reason = "the new key is the old key"
	}
	return k, reason
}

// parsePair reads KID:KEY. It returns a reason instead of an error of package
// key: those quote a KID's text, and a key may be in the wrong column.
func parsePair(which string, text []byte) (kid key.KID, k key.ContentKey, reason string) {
	left, right, ok := bytes.Cut(text, []byte(":"))
	if !ok {
		return kid, k, "the " + which + " key has no colon; want KID:KEY"
	}
	left = bytes.ReplaceAll(left, []byte("-"), nil)
	defer clear(left)
	var raw [16]byte
	defer clear(raw[:])
	if len(left) != 32 || !decoded(raw[:], left) {
		return kid, k, "the " + which + " KID is not 32 hex digits"
	}
	kid = key.KID(raw)
	if kid.IsZero() && which == "new" { // some media really is under a KID of zeros
		return kid, k, "the " + which + " KID is zero and names no key"
	}
	if len(right) != 32 || !decoded(raw[:], right) {
		return kid, k, "the " + which + " key is not 32 hex digits"
	}
	k, err := key.ContentKeyFromBytes(raw[:])
	if err != nil {
		return kid, k, "the " + which + " key is not 16 bytes"
	}
	return kid, k, ""
}

func decoded(dst, digits []byte) bool {
	_, err := hex.Decode(dst, digits)
	return err == nil
}

// weakKey reports a new key that crypto/rand gives with probability 2^-119: a
// placeholder, or the KID in the wrong column.
func weakKey(c key.Change) bool {
	raw := c.New.RevealSecretBytes()
	defer clear(raw[:])
	return raw == c.NewKID || bytes.Count(raw[:], raw[:1]) == len(raw)
}

// clash finds lines that contradict each other. What is old has leaked: neither
// its KID nor its key may be new again.
func (l fileKeys) clash() (line int, reason string) {
	olds := map[key.KID]int{}
	news := map[key.KID]fileKey{}
	oldKeys := map[[16]byte]int{}
	defer clear(oldKeys)
	for _, k := range l {
		if at, ok := olds[k.kid]; ok {
			return k.line, fmt.Sprintf("the old KID is that of line %d", at)
		}
		olds[k.kid] = k.line
		oldKeys[k.change.Old.RevealSecretBytes()] = k.line
	}
	for _, k := range l {
		if at, ok := olds[k.change.NewKID]; ok {
			return k.line, fmt.Sprintf("the new KID is the old KID of line %d", at)
		}
		if at, ok := oldKeys[k.change.New.RevealSecretBytes()]; ok {
			return k.line, fmt.Sprintf("the new key is the old key of line %d", at)
		}
		if n, ok := news[k.change.NewKID]; ok && !n.change.New.Equal(k.change.New) {
			return k.line, fmt.Sprintf("the new KID is that of line %d, with another key", n.line)
		}
		news[k.change.NewKID] = k
	}
	return 0, ""
}

func (l fileKeys) minted() (n int) {
	for _, k := range l {
		if k.minted {
			n++
		}
	}
	return n
}

func (l fileKeys) changes() key.Changes {
	ch := make(key.Changes, len(l))
	for _, k := range l {
		ch[k.kid] = k.change
	}
	return ch
}

// split says in r which keys the file's samples are under and which not. A new
// KID that stands in the file already and stays is an error: its key would
// count through two sets of IVs.
func (l fileKeys) split(name string, kids []key.KID, r *fileReport) error {
	here := map[key.KID]bool{}
	for _, kid := range kids {
		here[kid] = true
	}
	for _, k := range l {
		if here[k.change.NewKID] {
			return badKeyFile(name, k.line, "the new KID is one that the media has already: its key would be used with two sets of IVs")
		}
		if here[k.kid] {
			r.KIDs = append(r.KIDs, kidPair{k.kid, k.change.NewKID})
		} else {
			r.Unused = append(r.Unused, k.kid)
		}
	}
	return nil
}

// write makes the file of the new keys, durable when it returns nil.
func (l fileKeys) write(name string) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write new keys: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write new keys: %w", errors.Join(err, f.Close(), removeFile(name)))
		}
	}()
	buf := make([]byte, 0, 80*len(l)) // never grows: no copy stays behind
	defer func() { clear(buf[:cap(buf)]) }()
	written := map[key.KID]bool{}
	for _, k := range l {
		if written[k.change.NewKID] {
			continue
		}
		written[k.change.NewKID] = true
		raw := k.change.New.RevealSecretBytes()
		buf = append(buf, k.change.NewKID.String()+":"...)
		buf = hex.AppendEncode(buf, raw[:])
		buf = append(buf, '\n')
		clear(raw[:])
	}
	if _, err := f.Write(buf); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncFolder(name)
}
