package packager

import "fmt"

// Shaka says what Shaka Packager is to do with the keys.
type Shaka struct {
	Keys []Key
	// Decrypt writes the keys for reading encrypted media, not for encrypting.
	Decrypt bool
	// Scheme is --protection_scheme: cenc, cens, cbc1 or cbcs; "" leaves Shaka
	// Packager's default, cenc. Not with Decrypt.
	Scheme string
}

// WriteShaka writes a flag file at path, for packager --flagfile=path. It holds
// one flag a line; all keys are in one --keys, since Abseil lets the last of a
// flag win.
func WriteShaka(path string, s Shaka) error {
	if err := s.check(); err != nil {
		return failed("Shaka Packager flags", path, err)
	}
	// Large enough that nothing moves and leaves keys behind.
	body := make([]byte, 0, 128+len(s.Keys)*(128+maxLabel))
	defer func() { clear(body) }()
	if s.Decrypt {
		body = append(body, "--enable_raw_key_decryption\n"...)
	} else {
		body = append(body, "--enable_raw_key_encryption\n"...)
	}
	if s.Scheme != "" {
		body = fmt.Appendf(body, "--protection_scheme=%s\n", s.Scheme)
	}
	for i, k := range s.Keys {
		lead := ","
		if i == 0 {
			lead = "--keys="
		}
		body = fmt.Appendf(body, "%slabel=%s:key_id=%s:key=", lead, k.Label, k.KID)
		body = appendKey(body, k.Key)
	}
	body = append(body, '\n')
	if err := create(path, body); err != nil {
		return failed("Shaka Packager flags", path, err)
	}
	return nil
}

const maxLabel = 64 // bytes

func (s Shaka) check() error {
	if err := check(s.Keys); err != nil {
		return err
	}
	switch s.Scheme {
	case "":
	case "cenc", "cens", "cbc1", "cbcs":
		if s.Decrypt {
			return fmt.Errorf("%w: a scheme is for encryption only", ErrInput)
		}
	default:
		return fmt.Errorf("%w: scheme %q", ErrInput, s.Scheme)
	}
	seen := map[string]bool{}
	for _, k := range s.Keys {
		if !isLabel(k.Label) {
			return fmt.Errorf("%w: label of KID %s is not letters, digits and + - . _, or longer than %d", ErrInput, k.KID, maxLabel)
		}
		if seen[k.Label] {
			return fmt.Errorf("%w: label %q twice", ErrInput, k.Label)
		}
		seen[k.Label] = true
	}
	return nil
}

// isLabel leaves out what separates: ':', ',', '=', and white space.
func isLabel(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return len(s) <= maxLabel
}
