package backup

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestFactorRFC6238: appendix B, the SHA256 column.
func TestFactorRFC6238(t *testing.T) {
	secret := []byte("12345678901234567890123456789012")
	for unix, code := range map[int64]string{
		59: "46119246", 1111111109: "68084774", 1111111111: "67062674",
		1234567890: "91819424", 2000000000: "90698825", 20000000000: "77737706",
	} {
		counter, ok, err := match(secret, code, time.Unix(unix, 0), 8)
		if err != nil || !ok || counter != uint64(unix)/30 {
			t.Errorf("%d: counter %d, %v, %v", unix, counter, ok, err)
		}
		if counter, ok, err = match(secret, code[2:], time.Unix(unix, 0), 6); err != nil || !ok || counter != uint64(unix)/30 {
			t.Errorf("%d with 6 digits: counter %d, %v, %v", unix, counter, ok, err)
		}
	}
}

func TestFactorSkew(t *testing.T) {
	b := makeBackup(t, 2, 2, nil)
	for offset, ok := range map[time.Duration]bool{
		-61 * time.Second: false, -30 * time.Second: true, 0: true,
		30 * time.Second: true, 61 * time.Second: false, time.Hour: false,
	} {
		// created is 7 s into its period.
		_, err := b.master(t).Unlock(b.code(t, created.Add(offset)), created, never)
		if ok && err != nil || !ok && !errors.Is(err, ErrFactor) {
			t.Errorf("code of %v: %v", offset, err)
		}
	}
	if _, err := b.master(t).Unlock("123456", time.Unix(29, 0), never); !errors.Is(err, ErrFactor) {
		t.Errorf("in 1970: %v", err)
	}
}

func TestFactorSingleUse(t *testing.T) {
	b := makeBackup(t, 2, 2, nil)
	code := b.code(t, created)
	var kept []uint64
	keep := func(c uint64) error {
		for _, k := range kept {
			if k == c {
				return ErrUsed
			}
		}
		kept = append(kept, c)
		return nil
	}
	m := b.master(t)
	if _, err := m.Unlock(code, created, keep); err != nil {
		t.Fatal(err)
	}
	if len(kept) != 1 || kept[0] != uint64(created.Unix()/30) {
		t.Errorf("counters %v", kept)
	}
	if _, err := m.Unlock(code, created, never); !errors.Is(err, ErrUsed) {
		t.Errorf("again at the same master: %v", err)
	}
	if _, err := b.master(t).Unlock(code, created, keep); !errors.Is(err, ErrUsed) {
		t.Errorf("at another, by the record: %v", err)
	}
	// A record that cannot be kept unlocks nothing, and uses up nothing.
	boom := errors.New("boom")
	m = b.master(t)
	if u, err := m.Unlock(code, created, func(uint64) error { return boom }); !errors.Is(err, boom) || u != nil {
		t.Errorf("no record: %v", err)
	}
	if _, err := m.Unlock(code, created, never); err != nil {
		t.Errorf("after that: %v", err)
	}
	if u, err := b.master(t).Unlock(code, created, nil); !errors.Is(err, ErrOptions) || u != nil {
		t.Errorf("without a hook: %v", err)
	}
}

// TestFactorOnceOfMany: of many that come with one code at once, one gets in.
func TestFactorOnceOfMany(t *testing.T) {
	b := makeBackup(t, 2, 2, nil)
	m, code := b.master(t), b.code(t, created)
	var wg sync.WaitGroup
	var got atomic.Int32
	for range 16 {
		wg.Go(func() {
			if _, err := m.Unlock(code, created, never); err == nil {
				got.Add(1)
			} else if !errors.Is(err, ErrUsed) {
				t.Errorf("Unlock: %v", err)
			}
		})
	}
	wg.Wait()
	if got.Load() != 1 {
		t.Errorf("%d got in", got.Load())
	}
}

func TestFactorAttempts(t *testing.T) {
	b := makeBackup(t, 2, 2, nil)
	m, right := b.master(t), b.code(t, created)
	for _, code := range []string{"", "12345", right + "0", "ABCDEF", flipDigit(right)} {
		if u, err := m.Unlock(code, created, never); !errors.Is(err, ErrFactor) || u != nil {
			t.Fatalf("a wrong code: %v", err)
		} else if code != "" && strings.Contains(err.Error(), code) {
			t.Error("the error shows the code")
		}
	}
	if _, err := m.Unlock(right, created, never); !errors.Is(err, ErrAttempts) {
		t.Errorf("the right code after %d wrong ones: %v", MaxAttempts, err)
	}
}

// flipDigit is no code of the periods around: 6 digits repeat by chance only.
func flipDigit(code string) string {
	return string('0'+(code[0]-'0'+5)%10) + code[1:]
}

func TestFactorClosed(t *testing.T) {
	b := makeBackup(t, 2, 2, nil)
	m := b.master(t)
	u, err := m.Unlock(b.code(t, created), created, never)
	if err != nil {
		t.Fatal(err)
	}
	secret := m.secret()
	m.Close()
	m.Close()
	if *secret != [32]byte{} {
		t.Error("the secret is still there")
	}
	if _, err := m.Unlock(b.code(t, created.Add(30*time.Second)), created, never); !errors.Is(err, ErrClosed) {
		t.Errorf("Unlock: %v", err)
	}
	if _, err := u.Verify(bytes.NewReader(b.file)); !errors.Is(err, ErrClosed) {
		t.Errorf("Verify: %v", err)
	}
}

func TestFactorEnrolment(t *testing.T) {
	b := makeBackup(t, 2, 2, nil)
	url := b.made.Enrolment.RevealURL()
	for _, part := range []string{"otpauth://totp/rekey:backup%20" + b.made.Header.Manifest.ID[:8], "algorithm=SHA256", "digits=6", "period=30", "issuer=rekey"} {
		if !strings.Contains(url, part) {
			t.Errorf("the URL lacks %s", part)
		}
	}
	if n := len(secretOf(t, url)); n != 32 {
		t.Errorf("secret of %d bytes", n)
	}
	if (Enrolment{}).RevealURL() != "" {
		t.Error("a zero Enrolment has a URL")
	}
	// A secret that an authenticator has already, with 8 digits.
	o, private := options(t, 2, 2)
	o.Digits, o.Account, o.TOTPSecret = 8, "ops", []byte("12345678901234567890123456789012")
	var file bytes.Buffer
	made, err := Write(&file, each(nil), o)
	if err != nil {
		t.Fatal(err)
	}
	if string(o.TOTPSecret) != "12345678901234567890123456789012" {
		t.Error("the caller's secret was changed")
	}
	again := &bench{file: file.Bytes(), made: made, private: private}
	if _, err := again.master(t).Unlock("91819424", time.Unix(1234567890, 0), never); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(made.Enrolment.RevealURL(), "otpauth://totp/rekey:ops?") {
		t.Error("the account is not in the URL")
	}
}
