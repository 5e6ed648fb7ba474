package watch

import (
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/keyring"
)

// How the ring words what it refuses (keyring, Unwrap): the use comes first, and
// later the use again, quoted, with the state that forbade it.
const (
	reasonUse   = "use "
	reasonState = `" of a key that is `
)

// refusal reads from a record's reason which use of a key was refused, and in
// which state the key was; empty where the reason does not say.
func refusal(reason string) (use keyring.Use, state keyring.State) {
	rest, ok := strings.CutPrefix(reason, reasonUse)
	if !ok {
		return "", ""
	}
	word, rest, _ := strings.Cut(rest, ":")
	use = keyring.Use(word)
	if !slices.Contains(keyring.Uses(), use) {
		return "", ""
	}
	_, rest, ok = strings.Cut(rest, `"`+word+reasonState)
	if !ok {
		return use, ""
	}
	// The longest name first: none may be taken for the beginning of another.
	for _, s := range keyring.States() {
		if after, ok := strings.CutPrefix(rest, string(s)); ok && (after == "" || strings.ContainsAny(after[:1], ":,")) {
			return use, s
		}
	}
	return use, ""
}

// ofCompromised reports a refusal that is about a compromised key. A reason in
// other words that speaks of one counts: it is better told once too often.
func ofCompromised(reason string) (use string, yes bool) {
	u, s := refusal(reason)
	switch {
	case s == keyring.Compromised:
		return string(u), true
	case s == "" && strings.Contains(reason, string(keyring.Compromised)):
		if u == "" {
			u = other
		}
		return string(u), true
	default:
		return "", false
	}
}
