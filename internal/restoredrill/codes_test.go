package restoredrill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
)

const period = 30 * time.Second

// authenticator has what keys backup wrote to be enrolled.
type authenticator struct {
	key  *otp.Key
	last time.Time // the time that the last code was for
}

func enrolled(t *testing.T, url []byte) *authenticator {
	t.Helper()
	k, err := otp.NewKeyFromURL(strings.TrimSpace(string(url)))
	if err != nil || k.Algorithm() != otp.AlgorithmSHA256 {
		t.Fatalf("second factor: %v", err)
	}
	return &authenticator{key: k}
}

func (a *authenticator) at(t *testing.T, now time.Time) string {
	t.Helper()
	code, err := totp.GenerateCodeCustom(a.key.Secret(), now, totp.ValidateOpts{
		Period: uint(a.key.Period()), Digits: a.key.Digits(), Algorithm: a.key.Algorithm(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// code is one that was not used yet. It waits where the next would be too early:
// a clock may be one period off, and no more.
func (a *authenticator) code(t *testing.T, ctx context.Context) string {
	t.Helper()
	next := time.Now().Truncate(period)
	if !next.After(a.last) {
		next = a.last.Add(period)
	}
	for next.After(time.Now().Add(period)) {
		select {
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		case <-time.After(time.Until(next.Add(-period))):
		}
	}
	a.last = next
	return a.at(t, next)
}

// wrong is a code that is good at no time near now.
func (a *authenticator) wrong(t *testing.T) string {
	t.Helper()
	good := map[string]bool{}
	now := time.Now()
	for d := -10; d <= 10; d++ {
		good[a.at(t, now.Add(time.Duration(d)*period))] = true
	}
	code := "000000"
	for good[code] {
		code = "1" + code[:5]
	}
	return code
}

// expired is a code of some minutes ago.
func (a *authenticator) expired(t *testing.T) string {
	t.Helper()
	now := time.Now()
	for back := 5; ; back++ {
		code := a.at(t, now.Add(-time.Duration(back)*period))
		fresh := false
		for d := -1; d <= 2; d++ {
			fresh = fresh || code == a.at(t, now.Add(time.Duration(d)*period))
		}
		if !fresh {
			return code
		}
	}
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

// digest is SHA-256 in hex.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
