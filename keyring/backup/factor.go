package backup

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
)

// The second factor is TOTP (RFC 6238) as every authenticator app has it, but with
// SHA-256.
const (
	algorithm = "SHA256"
	period    = 30 // seconds, RFC 6238 §5.2
	skew      = 1  // periods
	minSecret = 32 // bytes; RFC 6238 §5.1: as long as the HMAC's output
	maxSecret = 64 // bytes
	issuer    = "rekey"
)

// Enrolment is what an authenticator takes in, once. It prints nothing secret.
type Enrolment struct {
	url func() string // a function, which fmt does not look through
}

// RevealURL is the otpauth URL, with the secret in it, to be shown once to who
// keeps the second factor.
func (e Enrolment) RevealURL() string {
	if e.url == nil {
		return ""
	}
	return e.url()
}

const redacted = "REDACTED"

// String prints REDACTED.
func (e Enrolment) String() string { return redacted }

// Format prints REDACTED for every verb.
func (e Enrolment) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue makes slog print REDACTED.
func (e Enrolment) LogValue() slog.Value { return slog.StringValue(redacted) }

func newSecret() []byte {
	b := make([]byte, minSecret)
	_, _ = rand.Read(b) // never fails: it crashes the program instead
	return b
}

func enrol(secret []byte, account string, digits int) (Enrolment, error) {
	k, err := totp.Generate(totp.GenerateOpts{
		Issuer: issuer, AccountName: account, Period: period, Secret: secret,
		Digits: otp.Digits(digits), Algorithm: otp.AlgorithmSHA256,
	})
	if err != nil {
		return Enrolment{}, fmt.Errorf("enrol second factor: %w", err)
	}
	url := k.URL()
	return Enrolment{func() string { return url }}, nil
}

// match finds the counter that a code is of, at now and skew periods around it.
// All are compared, each in constant time.
func match(secret []byte, code string, now time.Time, digits int) (counter uint64, ok bool, err error) {
	if now.Unix() < skew*period {
		return 0, false, fmt.Errorf("%w: the clock stands before 1970", ErrFactor)
	}
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
	o := hotp.ValidateOpts{Digits: otp.Digits(digits), Algorithm: otp.AlgorithmSHA256}
	first := uint64(now.Unix())/period - skew
	for c := first; c <= first+2*skew; c++ {
		want, err := hotp.GenerateCodeCustom(text, c, o)
		if err != nil {
			return 0, false, fmt.Errorf("compute code: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			counter, ok = c, true
		}
	}
	return counter, ok, nil
}
