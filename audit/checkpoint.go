package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// ErrCheckpoint is the class of a checkpoint that does not read or is not signed
// by the key it should be.
var ErrCheckpoint = errors.New("checkpoint is not valid")

// maxCheckpoint bounds one signed checkpoint, in bytes.
const maxCheckpoint = 64 << 10

// Checkpoint is what the log's key signs: how many records there are, and the
// one hash that they have (c2sp.org/tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
	// Signed is the note, text and signatures, as it was read.
	Signed []byte
}

func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

func (c Checkpoint) tree() tlog.Tree { return tlog.Tree{N: c.Size, Hash: c.Root} }

// OpenCheckpoint reads a signed checkpoint and checks v's signature on it. Errors
// are of class [ErrCheckpoint].
func OpenCheckpoint(signed []byte, v note.Verifier) (Checkpoint, error) {
	if len(signed) > maxCheckpoint {
		return Checkpoint{}, fmt.Errorf("%w: %d bytes, at most %d", ErrCheckpoint, len(signed), maxCheckpoint)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	c, err := parseCheckpointText(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	c.Signed = bytes.Clone(signed)
	return c, nil
}

// unsignedCheckpoint reads a checkpoint without looking at its signature.
func unsignedCheckpoint(signed []byte) (Checkpoint, error) {
	text, _, ok := strings.Cut(string(signed), "\n\n")
	if !ok {
		return Checkpoint{}, fmt.Errorf("%w: no signature", ErrCheckpoint)
	}
	c, err := parseCheckpointText(text + "\n")
	c.Signed = bytes.Clone(signed)
	return c, err
}

func parseCheckpointText(text string) (Checkpoint, error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 || lines[0] == "" {
		return Checkpoint{}, fmt.Errorf("%w: not the three lines of origin, size and hash", ErrCheckpoint)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%w: size is no number", ErrCheckpoint)
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return Checkpoint{}, fmt.Errorf("%w: hash is none", ErrCheckpoint)
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}

// heldLine is one line of the file that [FileShipper] writes.
type heldLine struct {
	Size       int64  `json:"size"`
	Checkpoint string `json:"checkpoint"`
}

// ParseHeld reads a file of held checkpoints: one signed checkpoint as the log
// keeps it, or the lines of [FileShipper]. A line that was cut by a crash is left
// out; a file without one whole checkpoint, or with one that v has not signed, is
// an error of class [ErrCheckpoint].
func ParseHeld(b []byte, v note.Verifier) ([]Checkpoint, error) {
	if !bytes.HasPrefix(bytes.TrimLeft(b, " \n"), []byte("{")) {
		c, err := OpenCheckpoint(b, v)
		if err != nil {
			return nil, err
		}
		return []Checkpoint{c}, nil
	}
	var out []Checkpoint
	for i, line := range bytes.Split(b, []byte("\n")) {
		var h heldLine
		if len(line) == 0 || json.Unmarshal(line, &h) != nil {
			continue
		}
		c, err := OpenCheckpoint([]byte(h.Checkpoint), v)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no line is one", ErrCheckpoint)
	}
	return out, nil
}
