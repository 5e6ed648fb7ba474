package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Check says what would keep Write from making a backup that way, before any key is
// opened: ErrOptions.
func (o Options) Check() error {
	m, err := o.manifest()
	if err != nil {
		return err
	}
	if err := checkHolders(m.Holders); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	for name, s := range map[string]string{"tool": o.Tool, "source": o.Source, "comment": o.Comment} {
		if err := checkText(s, maxText); err != nil {
			return fmt.Errorf("%w: %s %w", ErrOptions, name, err)
		}
	}
	return nil
}

// Terms are who can open a backup that is made with o, in a text that another person
// can compare: the threshold, and each holder's name, in quotes, with the
// [Fingerprint] of the key. Two that differ in these have other terms.
func (o Options) Terms() string {
	holders := make([]string, len(o.Holders))
	for i, h := range o.Holders {
		holders[i] = strconv.Quote(h.Name) + " " + Fingerprint(h.Key)
	}
	return fmt.Sprintf("any %d of %d: %s", o.Threshold, len(o.Holders), strings.Join(holders, ", "))
}

// TermsDigest is SHA-256 of a text of terms, in hex.
func TermsDigest(terms string) string {
	sum := sha256.Sum256([]byte(terms))
	return hex.EncodeToString(sum[:])
}
