package pkcs11

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/kms"
)

func TestKEKSpelling(t *testing.T) {
	for _, c := range []struct{ token, id, want string }{
		{"rekey", "\x01\xff", "pkcs11:rekey/01ff"},
		{"two words", "\x00", "pkcs11:two%20words/00"},
		{"a/b%20\x7fü:c", "\xab", "pkcs11:a%2Fb%2520%7F%C3%BC:c/ab"},
	} {
		got := spellKEK(c.token, []byte(c.id))
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.token, got, c.want)
		}
		if id, err := parseKEK(c.token, got); err != nil || string(id) != c.id {
			t.Errorf("%s read again: %x, %v", got, id, err)
		}
	}
}

func TestParseKEKRefuses(t *testing.T) {
	for _, kek := range []string{
		"", "pkcs11", "pkcs11:", "pkcs11:rekey", "pkcs11:rekey/", "pkcs11:rekey/0", "pkcs11:rekey/0g", "pkcs11:rekey/AB",
		"pkcs11:rekey/ab ", "pkcs11:rekey/ab/cd", "pkcs11:other/ab", "pkcs11:rekey2/ab", "pkcs11:%72ekey/ab", "local:rekey/ab",
		"rekey/ab", "pkcs11:rekey/" + strings.Repeat("ab", maxID+1),
	} {
		if id, err := parseKEK("rekey", kek); !errors.Is(err, kms.ErrNotFound) || id != nil {
			t.Errorf("%q: %x, %v; want ErrNotFound", kek, id, err)
		}
	}
}

func TestDoomedLabels(t *testing.T) {
	due := time.Date(2026, 12, 2, 3, 4, 5, 0, time.UTC)
	const spelled = "rekey-destroy-20261202T030405Z-media"
	if got := spellDoomed(due.In(time.FixedZone("", 3600)), "media"); got != spelled {
		t.Errorf("spelled %q, want %q", got, spelled)
	}
	for _, name := range []string{"", "media", "a-b", "rekey-destroy-", spelled} {
		if got, at := parseLabel(spellDoomed(due, name)); got != name || !at.Equal(due) {
			t.Errorf("%q read again: %q, %s", name, got, at)
		}
	}
	for _, label := range []string{
		"", "media", "rekey-destroy-", "rekey-destroy-media", "rekey-destroy-20261202T030405Z", "rekey-destroy-20261202T030405Zmedia",
		"rekey-destroy-20261302T030405Z-media", "rekey-destroy-2026-12-02T03:04-media", "rekey-destroy-00010101T000000Z-media",
		"Rekey-destroy-20261202T030405Z-media",
	} {
		if got, at := parseLabel(label); got != label || !at.IsZero() {
			t.Errorf("%q: %q, %s; want no date", label, got, at)
		}
	}
	if got := shown("a\nb\x00\xff ü"); got != "a?b?\ufffd ü" {
		t.Errorf("shown: %q", got)
	}
}

func FuzzParseKEK(f *testing.F) {
	for _, kek := range []string{"pkcs11:rekey%20test/00112233445566778899aabbccddeeff", "pkcs11:rekey%20test/", "pkcs11:rekey test/00", "local:00112233"} {
		f.Add("rekey test", kek)
	}
	f.Fuzz(func(t *testing.T, token, kek string) {
		id, err := parseKEK(token, kek)
		if err != nil {
			if !errors.Is(err, kms.ErrNotFound) {
				t.Errorf("%q: %v", kek, err)
			}
			return
		}
		if got := spellKEK(token, id); got != kek || len(id) == 0 || len(id) > maxID {
			t.Errorf("%q read and spelled again: %q", kek, got)
		}
	})
}

func FuzzParseLabel(f *testing.F) {
	for _, label := range []string{"media-2026", "rekey-destroy-20261202T030405Z-media-2026", "rekey-destroy-20261202T030405Z-", "rekey-destroy-"} {
		f.Add(label)
	}
	f.Fuzz(func(t *testing.T, label string) {
		name, due := parseLabel(label)
		if due.IsZero() && name != label || !due.IsZero() && spellDoomed(due, name) != label {
			t.Errorf("%q: %q, %s", label, name, due)
		}
	})
}

func TestFrame(t *testing.T) {
	f := frame{iv: bytes.Repeat([]byte{1}, ivSize), sealed: bytes.Repeat([]byte{2}, keySize+tagSize)}
	b, err := f.bytes()
	if err != nil || len(b) != 45 || b[0] != 1 {
		t.Fatalf("%x, %v", b, err)
	}
	if got, err := parseFrame(b); err != nil || !bytes.Equal(got.iv, f.iv) || !bytes.Equal(got.sealed, f.sealed) {
		t.Errorf("read again: %+v, %v", got, err)
	}
	for name, bad := range map[string]frame{
		"no IV":    {sealed: f.sealed},
		"short IV": {iv: f.iv[1:], sealed: f.sealed},
		"no tag":   {iv: f.iv, sealed: f.sealed[:keySize]},
	} {
		if b, err := bad.bytes(); !errors.Is(err, kms.ErrDenied) {
			t.Errorf("%s: %x, %v; want ErrDenied", name, b, err)
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add(append([]byte{frameVersion}, make([]byte, frameSize-1)...))
	f.Add(append([]byte{2}, make([]byte, frameSize-1)...))
	f.Add(append([]byte{frameVersion}, make([]byte, frameSize)...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseFrame(b)
		if err != nil {
			if !errors.Is(err, kms.ErrMismatch) {
				t.Errorf("%x: %v", b, err)
			}
			return
		}
		if again, err := got.bytes(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x spelled again: %x, %v", b, again, err)
		}
	})
}
