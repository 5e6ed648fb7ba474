package keyring

import (
	"testing"
	"time"
)

func TestLeftUse(t *testing.T) {
	hour := func(n int) time.Time { return time.Date(2026, 1, 1, n, 0, 0, 0, time.UTC) }
	at := hour(20)
	for name, tc := range map[string]struct {
		states  []State // from hour 1 on
		expires time.Time
		want    time.Time
	}{
		"active":                {[]State{Active}, time.Time{}, at},
		"never active":          {[]State{PreActivation, Destroyed}, time.Time{}, hour(1)},
		"imported out of use":   {[]State{Deactivated}, time.Time{}, hour(1)},
		"compromised later":     {[]State{Active, Deactivated, Compromised}, time.Time{}, hour(2)},
		"suspended and back":    {[]State{Active, Suspended, Active, Deactivated}, time.Time{}, hour(4)},
		"active after a break":  {[]State{Active, Suspended, Active}, time.Time{}, at},
		"expired":               {[]State{Active}, hour(9), hour(9)},
		"not yet":               {[]State{Active}, hour(21), at},
		"compromised, expiring": {[]State{Active, Compromised}, hour(9), hour(2)},
	} {
		r := Record{Created: hour(1), Expires: tc.expires, State: tc.states[len(tc.states)-1]}
		for i, s := range tc.states {
			r.History = append(r.History, Event{Time: hour(1 + i), State: s})
		}
		if got := r.LeftUse(at); !got.Equal(tc.want) {
			t.Errorf("%s: left use at %v, want %v", name, got, tc.want)
		}
	}
}
