package keyring

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/seed-6133abe0/rekey/key"
)

// parseJWKSet reads {"keys":[…]}; line is the number of the first line left.
func parseJWKSet(r io.Reader, line int) ([]Entry, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxJWK+1))
	defer clear(b)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if len(b) > maxJWK {
		return nil, badSyntax(line, fmt.Sprintf("JWK set larger than %d bytes", maxJWK))
	}
	lineAt := func(offset int64) int {
		return line + bytes.Count(b[:min(max(offset, 0), int64(len(b)))], []byte("\n"))
	}
	// All of it first, for the place of a syntax error. Its text is not passed
	// on: it quotes.
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(b, &whole); err != nil {
		at := int64(0)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = syntax.Offset
		}
		return nil, badSyntax(lineAt(at), "not a JSON object")
	}
	return readSet(json.NewDecoder(bytes.NewReader(b)), line, lineAt)
}

// readSet walks the members of the set, which is valid JSON: the decoder's
// errors can be left aside.
func readSet(dec *json.Decoder, line int, lineAt func(int64) int) ([]Entry, error) {
	var set entries
	sawKeys := false
	_, _ = dec.Token() // the '{'
	for dec.More() {
		name, _ := dec.Token()
		if name != "keys" {
			var skip json.RawMessage
			_ = dec.Decode(&skip)
			continue
		}
		if sawKeys {
			return nil, badSyntax(lineAt(dec.InputOffset()), `member "keys" twice`)
		}
		sawKeys = true
		if at, reason := readKeys(dec, &set, lineAt); reason != "" {
			return nil, badSyntax(at, reason)
		}
	}
	if !sawKeys {
		return nil, badSyntax(line, `no member "keys": not a JWK set`)
	}
	return set.list, nil
}

// readKeys reads the array of JWKs. It returns no reason, or one and its line.
func readKeys(dec *json.Decoder, set *entries, lineAt func(int64) int) (line int, reason string) {
	if tok, _ := dec.Token(); tok != json.Delim('[') {
		return lineAt(dec.InputOffset()), `member "keys" is not an array`
	}
	for i := 0; dec.More(); i++ {
		var raw json.RawMessage
		_ = dec.Decode(&raw)
		line = lineAt(dec.InputOffset() - int64(len(raw))) // where it begins
		e, reason := parseJWK(raw)
		clear(raw)
		if reason == "" {
			reason = set.add(e, line)
		}
		if reason != "" {
			return line, fmt.Sprintf("keys[%d]: %s", i, reason)
		}
	}
	_, _ = dec.Token() // the ']'
	return 0, ""
}

// parseJWK reads one symmetric key (RFC 7518 §6.4). Member names are matched
// exactly, and none of the three may come twice.
func parseJWK(raw []byte) (e Entry, reason string) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, _ := dec.Token(); tok != json.Delim('{') {
		return Entry{}, "not an object"
	}
	got := map[string]string{}
	for dec.More() {
		name, _ := dec.Token()
		var v json.RawMessage
		_ = dec.Decode(&v)
		n, _ := name.(string)
		if n != "kty" && n != "k" && n != "kid" {
			continue
		}
		if _, twice := got[n]; twice {
			return Entry{}, fmt.Sprintf("member %q twice", n)
		}
		var s string
		if len(v) == 0 || v[0] != '"' || json.Unmarshal(v, &s) != nil {
			return Entry{}, fmt.Sprintf("member %q is not a string", n)
		}
		got[n] = s
	}
	if got["kty"] != "oct" {
		return Entry{}, `kty is not "oct"`
	}
	var kid, k [16]byte
	defer clear(k[:])
	if !decodeBase64URL(&kid, got["kid"]) {
		return Entry{}, "kid is not 16 bytes in base64url without padding"
	}
	if !decodeBase64URL(&k, got["k"]) {
		return Entry{}, "k is not 16 bytes in base64url without padding"
	}
	ck, err := key.ContentKeyFromBytes(k[:])
	if err != nil {
		return Entry{}, "k is not 16 bytes"
	}
	return Entry{KID: key.KID(kid), Key: ck}, ""
}

// decodeBase64URL takes the one spelling of 16 bytes (RFC 7515 §2); the decoder
// alone would skip line breaks.
func decodeBase64URL(dst *[16]byte, s string) bool {
	if len(s) != base64.RawURLEncoding.EncodedLen(len(dst)) {
		return false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(dst[:], []byte(s))
	return err == nil && n == len(dst)
}
