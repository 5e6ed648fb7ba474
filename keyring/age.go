package keyring

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Age is a duration that may also be spelled in days: 90d.
type Age time.Duration

// ParseAge reads a Go duration or a number of days such as 90d. Negative ages
// are refused.
func ParseAge(s string) (Age, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("read age %q: want days such as 90d", s)
		}
		return Age(time.Duration(n) * 24 * time.Hour), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("read age %q: want 90d or a duration such as 12h", s)
	}
	return Age(d), nil
}

// UnmarshalText implements encoding.TextUnmarshaler with ParseAge.
func (a *Age) UnmarshalText(b []byte) error {
	v, err := ParseAge(string(b))
	if err != nil {
		return err
	}
	*a = v
	return nil
}
