package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Error says where JSON is not what it must be.
type Error struct {
	Offset int64 // in bytes from the beginning; -1: somewhere
	Reason string
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return e.Reason
	}
	return fmt.Sprintf("at offset %d: %s", e.Offset, e.Reason)
}

// Decode fills v, a pointer to a struct whose member names are all lower-case
// ASCII letters, digits and '_', from b. Every error is an *Error.
func Decode(b []byte, v any) error {
	// Syntax first, of all of b: a Decoder is less exact about offsets.
	var raw json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return place(err)
	}
	// Names before values: encoding/json folds case and lets the last of two win.
	if err := checkNames(b); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return place(err)
	}
	return nil
}

// checkNames walks b, which is valid JSON.
func checkNames(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	var open []level
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return place(err)
		}
		if open, err = step(open, tok); err != nil {
			return &Error{Offset: dec.InputOffset(), Reason: err.Error()}
		}
	}
}

// level is one open object or array.
type level struct {
	names    map[string]bool // nil for an array
	wantName bool
}

// maxDepth is far beyond any record.
const maxDepth = 64

func step(open []level, tok json.Token) ([]level, error) {
	delim, _ := tok.(json.Delim)
	if delim == '}' || delim == ']' {
		return open[:len(open)-1], nil
	}
	if n := len(open); n > 0 && open[n-1].names != nil {
		top := &open[n-1]
		if top.wantName {
			top.wantName = false
			return open, addName(top.names, tok)
		}
		top.wantName = true
	}
	switch delim {
	case '{':
		open = append(open, level{names: map[string]bool{}, wantName: true})
	case '[':
		open = append(open, level{})
	}
	if len(open) > maxDepth {
		return nil, errors.New("nested too deep")
	}
	return open, nil
}

func addName(names map[string]bool, tok json.Token) error {
	name, ok := tok.(string)
	if !ok {
		return errors.New("member name is not a string")
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return errors.New("unknown member name")
		}
	}
	if names[name] {
		return fmt.Errorf("member %q twice", name)
	}
	names[name] = true
	return nil
}

// place turns an error of encoding/json into an *Error. An unknown name and a
// value that a type refuses come without a place.
func place(err error) *Error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return &Error{Offset: syntax.Offset, Reason: syntax.Error()}
	case errors.As(err, &kind):
		return &Error{Offset: kind.Offset, Reason: fmt.Sprintf("member %q may not be a JSON %s", kind.Field, kind.Value)}
	default:
		return &Error{Offset: -1, Reason: err.Error()}
	}
}
