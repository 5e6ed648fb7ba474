package keyring

import (
	"fmt"
	"slices"
)

// State is where a key stands in its life (NIST SP 800-57 part 1 rev. 5 §7).
type State string

// The states. Destroyed (§7.4) comes with purge.
const (
	Active      State = "active"
	Deactivated State = "deactivated"
	Compromised State = "compromised"
)

// Use is what a key is wanted for.
type Use string

// The uses.
const (
	Encrypt      Use = "encrypt"       // protect media
	DecryptRekey Use = "decrypt-rekey" // open old media in order to rekey it
	Deliver      Use = "deliver"       // hand to a player
	Export       Use = "export"        // show to a person
	Verify       Use = "verify"        // open media in order to check it
)

type permission int

const (
	never permission = iota
	always
	inRotation // only with a rotation named
)

// permissions is the one table of what a state allows; doc.go prints it.
var permissions = map[State]map[Use]permission{
	Active:      {Encrypt: always, DecryptRekey: always, Deliver: always, Export: always, Verify: always},
	Deactivated: {Encrypt: never, DecryptRekey: always, Deliver: always, Export: always, Verify: always},
	Compromised: {Encrypt: never, DecryptRekey: inRotation, Deliver: always, Export: never, Verify: always},
}

// transitions lists where each state may go (§7, figure 2).
var transitions = map[State][]State{
	Active:      {Deactivated, Compromised},
	Deactivated: {Compromised},
	Compromised: {},
}

// Allows reports whether a key in state s may be used for u; rotation names the
// rotation that wants it, or is empty. A state or use that is not known allows
// nothing.
func Allows(s State, u Use, rotation string) bool {
	return checkUse(s, u, rotation) == nil
}

// checkUse returns nil or an error of class ErrForbidden.
func checkUse(s State, u Use, rotation string) error {
	switch p := permissions[s][u]; {
	case p == always, p == inRotation && rotation != "":
		return nil
	case p == inRotation:
		return fmt.Errorf("%w: %s of a key that is %s needs a rotation named", ErrForbidden, u, s)
	default:
		return fmt.Errorf("%w: %q of a key that is %s", ErrForbidden, u, s)
	}
}

// checkTransition returns nil or an error of class ErrTransition.
func checkTransition(from, to State) error {
	if slices.Contains(transitions[from], to) {
		return nil
	}
	return fmt.Errorf("%w: from %s to %q", ErrTransition, from, to)
}
