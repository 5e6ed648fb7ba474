package pkcs11

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/seed-6133abe0/rekey/kms"
)

// maxID bounds CKA_ID, in bytes. Create takes newID.
const (
	newID = 16
	maxID = 64
)

// spellKEK is the KEK id of the key that has the CKA_ID in the token.
func spellKEK(token string, id []byte) string {
	return Scheme + ":" + url.PathEscape(token) + "/" + hex.EncodeToString(id)
}

// parseKEK reads the CKA_ID from a KEK id; what is none, or of another token, is
// kms.ErrNotFound. A KEK has one spelling.
func parseKEK(token, kek string) ([]byte, error) {
	digits, ok := strings.CutPrefix(kek, spellKEK(token, nil))
	if !ok {
		return nil, fmt.Errorf("%w: %.300q is not of token %.100q", kms.ErrNotFound, kek, token)
	}
	if digits == "" || len(digits) > 2*maxID {
		return nil, fmt.Errorf("%w: CKA_ID in %.300q is not 1 to %d bytes", kms.ErrNotFound, kek, maxID)
	}
	id, err := hex.DecodeString(digits)
	if err != nil || hex.EncodeToString(id) != digits {
		return nil, fmt.Errorf("%w: CKA_ID in %.300q is not lower-case hex", kms.ErrNotFound, kek)
	}
	return id, nil
}

// A label that begins with doomed holds the second from which the key is to be
// destroyed, and behind it the label the key had before.
const (
	doomed     = "rekey-destroy-"
	doomedTime = "20060102T150405Z"
)

// spellDoomed puts the date of destruction before a label.
func spellDoomed(due time.Time, label string) string {
	return doomed + due.UTC().Format(doomedTime) + "-" + label
}

// parseLabel takes a label apart; due is zero where there is no date.
func parseLabel(label string) (name string, due time.Time) {
	rest, ok := strings.CutPrefix(label, doomed)
	if !ok || len(rest) <= len(doomedTime) || rest[len(doomedTime)] != '-' {
		return label, time.Time{}
	}
	due, err := time.Parse(doomedTime, rest[:len(doomedTime)])
	if err != nil || due.IsZero() || spellDoomed(due, rest[len(doomedTime)+1:]) != label {
		return label, time.Time{}
	}
	return rest[len(doomedTime)+1:], due
}

// shown is a label as it may be printed; others than Create may have set it.
func shown(label string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, label)
}
