package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/seed-6133abe0/rekey/audit/strictjson"
)

// What a signed object is: the first line of its text. The key may sign other
// things, whose first lines are others; a kind never changes its meaning.
const (
	kindIdentity = "rekey access identity v1"
	kindRequest  = "rekey access request v1"
	kindDecision = "rekey access decision v1"
)

// maxObject bounds a stored object, in bytes: more than any field allows.
const maxObject = 64 << 10

// value is what an object holds.
type value interface {
	// check says whether all of it is there and within bounds: ErrInvalid.
	check() error
}

// seal signs v: its kind on the first line, then JSON, which keeps whatever a
// field holds within its field.
func seal(signer note.Signer, kind string, v value) (object []byte, text string, err error) {
	if signer == nil {
		return nil, "", ErrNoSigner
	}
	if err := v.check(); err != nil {
		return nil, "", err
	}
	body, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	text = kind + "\n" + string(body) + "\n"
	object, err = note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, "", fmt.Errorf("sign: %w", err)
	}
	if len(object) > maxObject {
		return nil, "", fmt.Errorf("%w: %d bytes, at most %d", ErrInvalid, len(object), maxObject)
	}
	return object, text, nil
}

// unseal reads what seal made. Only the text is signed: what else an object holds
// can be changed without the key, so the text is what digests are of.
func unseal(name string, trusted note.Verifiers, kind string, object []byte, v value) (text string, err error) {
	n, err := note.Open(object, trusted)
	if err != nil {
		_, unsigned := errors.AsType[*note.UnverifiedNoteError](err)
		_, wrong := errors.AsType[*note.InvalidSignatureError](err)
		if unsigned || wrong {
			return "", forged(name, "%v", err)
		}
		return "", corrupt(name, "%v", err)
	}
	return n.Text, decode(name, kind, n.Text, v)
}

// decode reads a text whose signature holds.
func decode(name, kind, text string, v value) error {
	body, ok := strings.CutPrefix(text, kind+"\n")
	if !ok {
		return forged(name, "is signed as something else than a %q", kind)
	}
	if err := strictjson.Decode([]byte(body), v); err != nil {
		at := int64(-1)
		if e, ok := errors.AsType[*strictjson.Error](err); ok && e.Offset >= 0 {
			at = int64(len(kind)) + 1 + e.Offset
		}
		return &Error{Object: name, Offset: at, Reason: err.Error(), Class: ErrCorrupt}
	}
	if err := v.check(); err != nil {
		return corrupt(name, "%v", err)
	}
	return nil
}
