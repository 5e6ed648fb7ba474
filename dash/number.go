package dash

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
)

const nanosPerSecond = 1_000_000_000

// parseDuration reads an xs:duration without years and months into nanoseconds;
// more digits than nine are dropped.
func parseDuration(s string) (uint64, bool) {
	s, ok := strings.CutPrefix(strings.TrimSpace(s), "P")
	if !ok || s == "" {
		return 0, false
	}
	date, clock, hasClock := strings.Cut(s, "T")
	if hasClock && clock == "" {
		return 0, false
	}
	var total uint64
	for _, f := range []struct {
		text  *string
		unit  string
		nanos uint64
	}{{&date, "D", 86400 * nanosPerSecond}, {&clock, "H", 3600 * nanosPerSecond}, {&clock, "M", 60 * nanosPerSecond}, {&clock, "S", nanosPerSecond}} {
		digits, rest, found := strings.Cut(*f.text, f.unit)
		if !found {
			continue
		}
		*f.text = rest
		n, ok := parseNanos(digits, f.nanos)
		if !ok || total > math.MaxUint64-n {
			return 0, false
		}
		total += n
	}
	return total, date == "" && clock == ""
}

// parseNanos reads a decimal number of units.
func parseNanos(s string, unit uint64) (uint64, bool) {
	whole, fraction, hasFraction := strings.Cut(s, ".")
	if hasFraction && unit != nanosPerSecond {
		return 0, false
	}
	n, ok := parseUint(whole)
	if !ok {
		return 0, false
	}
	hi, lo := bits.Mul64(n, unit)
	if hi != 0 {
		return 0, false
	}
	if !hasFraction {
		return lo, true
	}
	if fraction == "" || strings.Trim(fraction, "0123456789") != "" {
		return 0, false
	}
	f, ok := parseUint((fraction + "000000000")[:9])
	if !ok || lo > math.MaxUint64-f {
		return 0, false
	}
	return lo + f, true
}

// parseUint reads digits only.
func parseUint(s string) (uint64, bool) {
	if s == "" || s[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// ceilDiv is a·b/c rounded up; ok is false where that needs more than 64 bits.
func ceilDiv(a, b, c uint64) (uint64, bool) {
	hi, lo := bits.Mul64(a, b)
	if c == 0 || hi >= c {
		return 0, false
	}
	q, r := bits.Div64(hi, lo, c)
	if r > 0 {
		q++
	}
	return q, q != 0 || r == 0
}
