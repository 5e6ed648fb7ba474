package backup

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cloudflare/circl/group"

	"github.com/seed-6133abe0/rekey/audit/strictjson"
)

// Manifest says what a backup is and who can open it. It holds nothing secret,
// is read without any, and is authenticated once k shares are combined; until
// then it is a claim.
type Manifest struct {
	ID        string      `json:"id"` // 32 hex digits, at random
	Created   time.Time   `json:"created"`
	Tool      string      `json:"tool,omitempty"`    // that made it, with its version
	Source    string      `json:"source,omitempty"`  // what it was made of
	Comment   string      `json:"comment,omitempty"` // by who made it
	Threshold int         `json:"threshold"`         // k: shares that a restore needs
	Holders   []Custodian `json:"holders"`           // n; share i+1 is sealed to Holders[i]
	// Commitments are the generator times each coefficient of the polynomial, the
	// master's first, as compressed points (SEC 1 §2.3.3).
	Commitments [][]byte `json:"commitments"`
	Factor      Factor   `json:"factor"`
}

// Custodian is a holder as the manifest names it.
type Custodian struct {
	Name string `json:"name"`
	Key  string `json:"key"` // Fingerprint of the holder's public key
}

// Factor describes the second factor (RFC 6238).
type Factor struct {
	Algorithm string `json:"algorithm"` // SHA256
	Digits    int    `json:"digits"`    // 6 or 8
	Period    int    `json:"period"`    // seconds: 30
}

// Bounds of a backup.
const (
	minThreshold = 2
	maxHolders   = 32
	maxName      = 100      // bytes
	maxText      = 1000     // bytes
	maxLine      = 64 << 10 // bytes
)

const (
	idSize          = 16 // bytes
	fingerprintSize = 32 // bytes
	pointSize       = 33 // bytes, compressed
)

// line spells the manifest in the file, without LF.
func (m Manifest) line() ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	if len(b) >= maxLine {
		return nil, fmt.Errorf("encode manifest: %d bytes, at most %d", len(b), maxLine-1)
	}
	return b, nil
}

func parseManifest(line []byte, offset int64) (Manifest, error) {
	var m Manifest
	if err := decodeLine(line, &m); err != nil {
		return Manifest{}, fault(ErrSyntax, "manifest", offset, "%v", err)
	}
	if err := m.check(); err != nil {
		return Manifest{}, fault(ErrSyntax, "manifest", offset, "%v", err)
	}
	return m, nil
}

// decodeLine reads one JSON object that is all of line.
func decodeLine(line []byte, v any) error {
	if len(line) == 0 || line[0] != '{' {
		return errors.New("not a JSON object")
	}
	return strictjson.Decode(line, v)
}

// check says what a manifest lacks.
func (m Manifest) check() error {
	switch {
	case !isHex(m.ID, idSize):
		return fmt.Errorf("id is not %d hex digits", 2*idSize)
	case m.Created.IsZero() || m.Created.Year() < 1 || m.Created.Year() > 9999:
		return errors.New("no time of creation")
	case m.Threshold < minThreshold || m.Threshold > len(m.Holders) || len(m.Holders) > maxHolders:
		return fmt.Errorf("threshold %d of %d holders; want 2 ≤ k ≤ n ≤ %d", m.Threshold, len(m.Holders), maxHolders)
	case len(m.Commitments) != m.Threshold:
		return fmt.Errorf("%d commitments, want %d", len(m.Commitments), m.Threshold)
	case m.Factor.Algorithm != algorithm || m.Factor.Period != period || m.Factor.Digits != 6 && m.Factor.Digits != 8:
		return fmt.Errorf("second factor is not TOTP with %s, 6 or 8 digits, %d s", algorithm, period)
	}
	for name, s := range map[string]string{"tool": m.Tool, "source": m.Source, "comment": m.Comment} {
		if err := checkText(s, maxText); err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
	}
	if err := checkHolders(m.Holders); err != nil {
		return err
	}
	_, err := m.points()
	return err
}

func checkHolders(holders []Custodian) error {
	names, keys := map[string]bool{}, map[string]bool{}
	for i, c := range holders {
		if c.Name == "" {
			return fmt.Errorf("holder %d: no name", i+1)
		}
		if err := checkText(c.Name, maxName); err != nil {
			return fmt.Errorf("holder %d: name %w", i+1, err)
		}
		if !isHex(c.Key, fingerprintSize) {
			return fmt.Errorf("holder %d: key is not a fingerprint of %d hex digits", i+1, 2*fingerprintSize)
		}
		if names[c.Name] || keys[c.Key] {
			return fmt.Errorf("holder %d: name or key is another holder's too: two shares would be one person's", i+1)
		}
		names[c.Name], keys[c.Key] = true, true
	}
	return nil
}

// points are the commitments. circl panics on points off the curve.
func (m Manifest) points() ([]group.Element, error) {
	points := make([]group.Element, len(m.Commitments))
	for i, b := range m.Commitments {
		points[i] = group.P256.NewElement()
		if len(b) != pointSize || points[i].UnmarshalBinary(b) != nil {
			return nil, fmt.Errorf("commitment %d is not a compressed point of P-256", i)
		}
	}
	return points, nil
}

// checkText wants printable text on one line.
func checkText(s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("is longer than %d bytes", most)
	}
	if !utf8.ValidString(s) {
		return errors.New("is not UTF-8")
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return errors.New("holds a character that does not print")
		}
	}
	return nil
}

// isHex reports lower-case hex digits of size bytes.
func isHex(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size && hex.EncodeToString(b) == s
}
