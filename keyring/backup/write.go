package backup

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Options say how a backup is made.
type Options struct {
	// Threshold is k, from 2 to the number of holders.
	Threshold int
	// Holders are who gets a share: at most 32, each of another name and key.
	Holders []Holder
	// Created is the time now.
	Created time.Time
	// Tool, Source and Comment stand in the manifest, for all to read: printable,
	// at most 1000 bytes each. Zero: none.
	Tool, Source, Comment string
	// Digits of a code: 6 or 8. Zero: 6.
	Digits int
	// TOTPSecret is 32 to 64 bytes that an authenticator has already. Zero: a new
	// one is made. It is copied.
	TOTPSecret []byte
	// Account is the name that the authenticator shows. Zero: "backup" and the
	// beginning of the backup's id.
	Account string
}

// Summary counts what is in a backup.
type Summary struct {
	Entries   uint64 // with the destroyed ones
	Destroyed uint64
	Bytes     int64  // of the file
	SHA256    string // of the file, in hex
}

// Made is a backup that was written.
type Made struct {
	Header    *Header
	Enrolment Enrolment
	Summary   Summary
}

// Write writes a backup of entries, which must come in the order that Entry says,
// under a new master that it forgets. It holds one entry and one chunk at a time. On an
// error what was written is no backup: reading it ends in ErrDamaged.
// Errors are ErrOptions, ErrEntry, or come from w or entries.
func Write(w io.Writer, entries iter.Seq2[Entry, error], o Options) (Made, error) {
	made, err := write(w, entries, o)
	if err != nil {
		return Made{}, fmt.Errorf("write backup: %w", err)
	}
	return made, nil
}

func write(w io.Writer, entries iter.Seq2[Entry, error], o Options) (Made, error) {
	p, err := prepare(o)
	if err != nil {
		return Made{}, err
	}
	digest := sha256.New()
	out := &countWriter{w: io.MultiWriter(w, digest)}
	if _, err := out.Write(p.head); err != nil {
		return Made{}, err
	}
	chunks := newChunkWriter(out, p.chunks)
	defer chunks.wipe()
	frames := &entryWriter{w: chunks, buf: make([]byte, 0, 64)}
	for e, err := range entries {
		if err != nil {
			return Made{}, err
		}
		if err := frames.put(e); err != nil {
			return Made{}, err
		}
	}
	if err := errors.Join(frames.end(), chunks.Close()); err != nil {
		return Made{}, err
	}
	sum := frames.sum
	sum.Bytes, sum.SHA256 = out.n, hex.EncodeToString(digest.Sum(nil))
	return Made{p.header, p.enrolment, sum}, nil
}

// prepared is all of a backup but its entries.
type prepared struct {
	header    *Header
	head      []byte // the header as it is written
	chunks    cipher.AEAD
	enrolment Enrolment
}

func prepare(o Options) (prepared, error) {
	m, err := o.manifest()
	if err != nil {
		return prepared{}, err
	}
	secret, values, commitments, err := split(o.Threshold, len(o.Holders))
	if err != nil {
		return prepared{}, err
	}
	defer clear(secret[:])
	m.Commitments = commitments
	if err := m.check(); err != nil {
		return prepared{}, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	line, err := m.line()
	if err != nil {
		return prepared{}, err
	}
	p := prepared{header: &Header{Manifest: m, manifest: sha256.Sum256(line)}}
	for i, v := range values {
		s, err := sealShare(newShare(p.header, i+1, v), o.Holders[i].Key)
		clear(v)
		if err != nil {
			return prepared{}, fmt.Errorf("seal share to %s: %w", o.Holders[i].Name, err)
		}
		p.header.Shares = append(p.header.Shares, s)
	}
	if p.enrolment, err = p.header.sealFactor(secret, o); err != nil {
		return prepared{}, err
	}
	if p.head, err = p.header.encode(line); err != nil {
		return prepared{}, err
	}
	p.chunks, err = derive(secret, labelChunks, p.header.whole)
	return p, err
}

// manifest is the manifest without commitments. It checks what must hold before
// the master is split.
func (o Options) manifest() (Manifest, error) {
	if o.Digits == 0 {
		o.Digits = 6
	}
	m := Manifest{
		Created: o.Created.UTC().Truncate(time.Second), Tool: o.Tool, Source: o.Source, Comment: o.Comment,
		Threshold: o.Threshold, Factor: Factor{Algorithm: algorithm, Digits: o.Digits, Period: period},
	}
	var id [idSize]byte
	_, _ = rand.Read(id[:]) // never fails: it crashes the program instead
	m.ID = hex.EncodeToString(id[:])
	if n := len(o.Holders); o.Threshold < minThreshold || o.Threshold > n || n > maxHolders {
		return m, fmt.Errorf("%w: threshold %d of %d holders; want 2 ≤ k ≤ n ≤ %d", ErrOptions, o.Threshold, n, maxHolders)
	}
	if n := len(o.TOTPSecret); n != 0 && (n < minSecret || n > maxSecret) {
		return m, fmt.Errorf("%w: secret of the second factor is %d bytes, want %d to %d", ErrOptions, n, minSecret, maxSecret)
	}
	if err := checkText(o.Account, maxName); err != nil {
		return m, fmt.Errorf("%w: account %w", ErrOptions, err)
	}
	for _, h := range o.Holders {
		if err := checkCurve(h.Key); err != nil {
			return m, fmt.Errorf("%w: holder %q: %w", ErrOptions, h.Name, err)
		}
		m.Holders = append(m.Holders, Custodian{h.Name, Fingerprint(h.Key)})
	}
	return m, nil
}

// sealFactor puts the secret of the second factor into the header.
func (h *Header) sealFactor(secret *[32]byte, o Options) (Enrolment, error) {
	aead, err := derive(secret, labelFactor, h.manifest)
	if err != nil {
		return Enrolment{}, err
	}
	shared := o.TOTPSecret
	if len(shared) == 0 {
		shared = newSecret()
		defer clear(shared)
	}
	h.factor = aead.Seal(nil, nil, shared, nil)
	account := o.Account
	if account == "" {
		account = "backup " + h.Manifest.ID[:8]
	}
	return enrol(shared, account, h.Manifest.Factor.Digits)
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
