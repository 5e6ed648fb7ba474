package keyring

import "time"

// LeftUse is since when nothing new may have been encrypted under the key: when it
// was last active, by its history or its expiry; its creation where it never was.
// It is at for a key that is active at that time.
func (r Record) LeftUse(at time.Time) time.Time {
	left, active := r.Created, false
	for _, e := range r.History {
		if active && e.State != Active {
			left = e.Time
		}
		active = e.State == Active
	}
	switch {
	case !active:
		return left
	case r.Expired(at):
		return r.Expires
	default:
		return at
	}
}
