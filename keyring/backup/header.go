package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	magic       = "rekey-backup-v2"
	magicFamily = "rekey-backup-v"
)

// Header is the part of a backup that stands in the clear: the manifest, and
// what only holders and the master open.
type Header struct {
	Manifest Manifest
	Shares   []SealedShare // Shares[i] is number i+1

	factor   []byte   // sealed
	manifest [32]byte // SHA-256 of the manifest's line
	whole    [32]byte // SHA-256 of the header
	size     int64    // bytes
}

// factorLine is the header's last line.
type factorLine struct {
	Sealed []byte `json:"sealed_factor"`
}

// Fingerprint is SHA-256 of the manifest in hex. It stands for the backup: it
// commits to the master. Record it where the file is not.
func (h *Header) Fingerprint() string { return hex.EncodeToString(h.manifest[:]) }

// encode spells the header and sets its digests.
func (h *Header) encode(line []byte) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(magic + "\n")
	b.Write(line)
	b.WriteByte('\n')
	for _, s := range h.Shares {
		text, err := s.MarshalText()
		if err != nil {
			return nil, err
		}
		b.Write(text)
	}
	text, err := json.Marshal(factorLine{h.factor})
	if err != nil {
		return nil, fmt.Errorf("encode second factor: %w", err)
	}
	b.Write(text)
	b.WriteByte('\n')
	h.whole, h.size = sha256.Sum256(b.Bytes()), int64(b.Len())
	return b.Bytes(), nil
}

// ReadHeader reads the header of a backup and nothing that is secret. It may read
// r beyond the header. Its errors are *Error of class ErrSyntax or ErrVersion, or
// come from r.
func ReadHeader(r io.Reader) (*Header, error) {
	h, err := readHeader(bufio.NewReaderSize(r, maxLine))
	if err != nil {
		return nil, fmt.Errorf("read backup: %w", err)
	}
	return h, nil
}

// readHeader leaves br at the first chunk. br's buffer is maxLine bytes.
func readHeader(br *bufio.Reader) (*Header, error) {
	l := lines{br: br}
	first, err := l.next("first line")
	if err != nil {
		return nil, err
	}
	if s := string(first); s != magic {
		if strings.HasPrefix(s, magicFamily) {
			return nil, fault(ErrVersion, "first line", 0, "want %s", magic)
		}
		return nil, fault(ErrSyntax, "first line", 0, "is not %s", magic)
	}
	at := l.offset
	line, err := l.next("manifest")
	if err != nil {
		return nil, err
	}
	h := &Header{manifest: sha256.Sum256(line)}
	if h.Manifest, err = parseManifest(line, at); err != nil {
		return nil, err
	}
	for i := range h.Manifest.Holders {
		s, err := h.readShare(&l, i+1)
		if err != nil {
			return nil, err
		}
		h.Shares = append(h.Shares, s)
	}
	if h.factor, err = readFactor(&l); err != nil {
		return nil, err
	}
	h.whole, h.size = sha256.Sum256(l.all.Bytes()), l.offset
	return h, nil
}

func (h *Header) readShare(l *lines, number int) (SealedShare, error) {
	part, at := h.share(number), l.offset
	line, err := l.next(part)
	if err != nil {
		return SealedShare{}, err
	}
	s, err := parseShare(line)
	if err != nil {
		return SealedShare{}, fault(ErrSyntax, part, at, "%v", err)
	}
	if s.Number != number || s.Recipient != h.Manifest.Holders[number-1].Key {
		return SealedShare{}, fault(ErrSyntax, part, at, "is share %d to another key; shares stand by number, each to its holder", s.Number)
	}
	if err := h.checkShare(s); err != nil {
		return SealedShare{}, fault(ErrSyntax, part, at, "%v", err)
	}
	return s, nil
}

func readFactor(l *lines) ([]byte, error) {
	const part = "second factor"
	at := l.offset
	line, err := l.next(part)
	if err != nil {
		return nil, err
	}
	var f factorLine
	if err := decodeLine(line, &f); err != nil {
		return nil, fault(ErrSyntax, part, at, "%v", err)
	}
	if n := len(f.Sealed) - overhead; n < minSecret || n > maxSecret {
		return nil, fault(ErrSyntax, part, at, "%d bytes sealed, want %d to %d", len(f.Sealed), minSecret+overhead, maxSecret+overhead)
	}
	return f.Sealed, nil
}

// share names a share in an error.
func (h *Header) share(number int) string {
	if number < 1 || number > len(h.Manifest.Holders) {
		return fmt.Sprintf("share %d", number)
	}
	return fmt.Sprintf("share %d (%s)", number, h.Manifest.Holders[number-1].Name)
}

// lines reads lines and keeps what it read.
type lines struct {
	br     *bufio.Reader
	all    bytes.Buffer
	offset int64 // of the next line
}

// next is the next line without LF; it is overwritten by the one after.
func (l *lines) next(part string) ([]byte, error) {
	b, err := l.br.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fault(ErrSyntax, part, l.offset, "line is longer than %d bytes", maxLine)
	case errors.Is(err, io.EOF):
		return nil, fault(ErrSyntax, part, l.offset, "the file ends within the header")
	case err != nil:
		return nil, fmt.Errorf("%s at offset %d: %w", part, l.offset, err)
	}
	l.all.Write(b)
	l.offset += int64(len(b))
	return b[:len(b)-1], nil
}
