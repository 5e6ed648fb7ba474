package keyring

import (
	"fmt"
	"slices"
	"time"
)

// State is where a key stands in its life (NIST SP 800-57 part 1 rev. 5 §7).
type State string

// The states (§7.1 to §7.6).
const (
	PreActivation State = "pre-activation"
	Active        State = "active"
	Suspended     State = "suspended"
	Deactivated   State = "deactivated"
	Compromised   State = "compromised"
	Destroyed     State = "destroyed"
)

// Use is what a key is wanted for.
type Use string

// The uses.
const (
	Encrypt      Use = "encrypt"       // protect media
	DecryptRekey Use = "decrypt-rekey" // open old media in order to rekey it
	Deliver      Use = "deliver"       // hand to a player
	Export       Use = "export"        // show to a person, or write to a backup
	Verify       Use = "verify"        // open media in order to check it
)

// Permission is what a state says to a use.
type Permission string

// The permissions.
const (
	Never      Permission = "no"
	Always     Permission = "yes"
	InRotation Permission = "rotation" // to a worker, for an open rotation of the key, for a bounded time
)

// permissions is the one table of what a state allows; doc.go prints it.
var permissions = map[State]map[Use]Permission{
	PreActivation: {Encrypt: Never, DecryptRekey: Never, Deliver: Never, Export: Never, Verify: Never},
	Active:        {Encrypt: Always, DecryptRekey: Always, Deliver: Always, Export: Always, Verify: Always},
	Suspended:     {Encrypt: Never, DecryptRekey: Always, Deliver: Always, Export: Never, Verify: Always},
	Deactivated:   {Encrypt: Never, DecryptRekey: Always, Deliver: Always, Export: Always, Verify: Always},
	Compromised:   {Encrypt: Never, DecryptRekey: InRotation, Deliver: Always, Export: Never, Verify: InRotation},
	Destroyed:     {Encrypt: Never, DecryptRekey: Never, Deliver: Never, Export: Never, Verify: Never},
}

// transitions lists where each state may go (§7, figure 3). An active key is
// deactivated before it is destroyed, so that nothing is encrypted under a key
// that is about to go.
var transitions = map[State][]State{
	PreActivation: {Active, Compromised, Destroyed},
	Active:        {Suspended, Deactivated, Compromised},
	Suspended:     {Active, Deactivated, Compromised},
	Deactivated:   {Compromised, Destroyed},
	Compromised:   {Destroyed},
	Destroyed:     {},
}

// States lists the states in the order of a key's life.
func States() []State {
	return []State{PreActivation, Active, Suspended, Deactivated, Compromised, Destroyed}
}

// Uses lists what a key can be wanted for.
func Uses() []Use { return []Use{Encrypt, DecryptRekey, Deliver, Export, Verify} }

// Allows is what a key in state s says to u. A state or use that is not known
// allows nothing.
func Allows(s State, u Use) Permission {
	if p, ok := permissions[s][u]; ok {
		return p
	}
	return Never
}

// Transitions lists where a key in state s may go.
func Transitions(s State) []State { return slices.Clone(transitions[s]) }

// checkTransition returns nil or an error of class ErrTransition.
func checkTransition(from, to State) error {
	if slices.Contains(transitions[from], to) {
		return nil
	}
	return fmt.Errorf("%w: from %s to %q", ErrTransition, from, to)
}

// StateAt is the state that counts at a time: an active key whose time is up is
// deactivated (§5.3.1), whether or not that was written yet.
func (r Record) StateAt(now time.Time) State {
	if r.State == Active && r.Expired(now) {
		return Deactivated
	}
	return r.State
}

// Expired reports whether a key's time is up.
func (r Record) Expired(now time.Time) bool {
	return !r.Expires.IsZero() && !now.Before(r.Expires)
}

// lapsed reports whether a key is deactivated because its time is up, and not
// because somebody wanted it.
func (r Record) lapsed(now time.Time) bool {
	switch {
	case !r.Expired(now):
		return false
	case r.State != Deactivated:
		return r.State == Active
	}
	i := slices.IndexFunc(r.History, func(e Event) bool { return e.State == Deactivated })
	return r.History[i].Reason == reasonExpired && !r.History[i].Time.Before(r.Expires)
}

// Lifetime says how long keys with a tag may protect media (the originator-usage
// period of SP 800-57 part 1 §5.3.4).
type Lifetime struct {
	// Tag picks the keys. Zero: all.
	Tag string
	// After is the time from a key's creation in the ring to its expiry.
	After time.Duration
}

// expires is when a key made now leaves active use; the shortest lifetime wins.
// Zero: never.
func expires(lifetimes []Lifetime, tags []string, now time.Time) time.Time {
	var end time.Time
	for _, l := range lifetimes {
		if l.Tag != "" && !slices.Contains(tags, l.Tag) {
			continue
		}
		if t := now.Add(l.After); end.IsZero() || t.Before(end) {
			end = t
		}
	}
	return end
}
