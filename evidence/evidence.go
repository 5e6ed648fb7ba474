// Package evidence weighs what decrypted media says of the key that decrypted
// it. CENC and AES-CBC carry no integrity check, so whether an old key is the
// right one is decided from the clear media itself: structures that real media
// always has and random bytes almost never have.
//
// It never looks at media; the format packages do and report here.
package evidence

import "math"

// Verdict is what a body of evidence comes to.
type Verdict int

// A key is Undecided until something speaks for or against it.
const (
	Undecided Verdict = iota
	Right
	Wrong
)

// String prints undecided, right or wrong.
func (v Verdict) String() string {
	return [...]string{"undecided", "right", "wrong"}[v]
}

// MarshalText implements encoding.TextMarshaler with the String form.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// decisive is the probability below which chance is ruled out.
const decisive = 1e-9

// Evidence pools what was seen. Zero is no evidence. JSON shape:
// {"for_log10","against","bytes"}.
type Evidence struct {
	// ForLog10 is log10 of the probability that random bytes would have passed
	// every check that was passed: 0 for no evidence, -12 for one in 10^12.
	ForLog10 float64 `json:"for_log10"`
	// Against counts checks that right media cannot fail and that failed.
	Against int `json:"against"`
	// Bytes is the number of protected bytes looked at.
	Bytes int64 `json:"bytes"`
}

// Pass records checks over n bytes that random bytes pass with probability p.
func (e *Evidence) Pass(n int64, p float64) {
	e.Bytes += n
	e.ForLog10 += math.Log10(p)
}

// Fail records a check over n bytes that right media cannot fail.
func (e *Evidence) Fail(n int64) {
	e.Bytes += n
	e.Against++
}

// Look records n bytes for which there is no rule.
func (e *Evidence) Look(n int64) { e.Bytes += n }

// Add pools o into e.
func (e *Evidence) Add(o Evidence) {
	e.ForLog10 += o.ForLog10
	e.Against += o.Against
	e.Bytes += o.Bytes
}

// MissProbability is the chance that random bytes would look as right as this.
func (e Evidence) MissProbability() float64 { return math.Pow(10, e.ForLog10) }

// Verdict is Wrong as soon as anything speaks against the key, Right when
// chance is ruled out, else Undecided.
func (e Evidence) Verdict() Verdict {
	switch {
	case e.Against > 0:
		return Wrong
	case e.MissProbability() < decisive:
		return Right
	default:
		return Undecided
	}
}

// Merge pools src into dst, key by key, and returns dst, or a new map where it
// is nil and src is not empty. What speaks for one key says nothing of another.
func Merge[K comparable](dst, src map[K]Evidence) map[K]Evidence {
	for k, e := range src {
		if dst == nil {
			dst = make(map[K]Evidence, len(src))
		}
		sum := dst[k]
		sum.Add(e)
		dst[k] = sum
	}
	return dst
}
