package backup

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
)

func otherCurve(t *testing.T) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestSharesAnyK: every k of n open the backup, and so do more than k.
func TestSharesAnyK(t *testing.T) {
	b := makeBackup(t, 3, 5, someEntries(3, 10))
	h := b.made.Header
	for mask := range 1 << 5 {
		var numbers []int
		for i := range 5 {
			if mask>>i&1 == 1 {
				numbers = append(numbers, i+1)
			}
		}
		m, err := h.Combine(b.open(t, h, numbers...))
		if len(numbers) < 3 {
			if !errors.Is(err, ErrTooFew) {
				t.Errorf("%v: %v, want ErrTooFew", numbers, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%v: %v", numbers, err)
		}
		if _, err := (&Unlocked{m}).Verify(bytes.NewReader(b.file)); err != nil {
			t.Errorf("%v: %v", numbers, err)
		}
		m.Close()
	}
}

func TestSharesTwoOfThreeWhereThreeAreNeeded(t *testing.T) {
	b := makeBackup(t, 3, 3, nil)
	h := b.made.Header
	_, err := h.Combine(b.open(t, h, 1, 3))
	if !errors.Is(err, ErrTooFew) || !strings.Contains(err.Error(), "2, the backup needs 3 of 3") {
		t.Errorf("Combine: %v", err)
	}
}

func TestSharesRefused(t *testing.T) {
	b, other := makeBackup(t, 2, 3, nil), makeBackup(t, 2, 3, nil)
	h := b.made.Header
	good := b.open(t, h, 1, 2, 3)
	foreign := other.open(t, other.made.Header, 2)[0]
	wrong := good[1]
	value := *good[1].value()
	value[31] ^= 1
	wrong.value = func() *[32]byte { return &value }
	tooLarge := good[1]
	tooLarge.value = func() *[32]byte { return (*[32]byte)(bytes.Repeat([]byte{0xff}, 32)) }
	zero := good[1]
	zero.value = func() *[32]byte { return new([32]byte) }
	renumbered := good[1]
	renumbered.Number = 3
	outside := good[1]
	outside.Number = 4
	tests := []struct {
		name   string
		shares []Share
		class  error
		names  string
	}{
		{"none", nil, ErrTooFew, "0, the backup needs 2 of 3"},
		{"one", good[:1], ErrTooFew, "1, the backup needs 2 of 3"},
		{"twice", []Share{good[0], good[0]}, ErrRepeated, "share 1 (holder a)"},
		{"enough and one twice", []Share{good[0], good[1], good[1]}, ErrRepeated, "share 2 (holder b)"},
		{"of another backup", []Share{good[0], foreign}, ErrForeign, "share 2 (holder b)"},
		{"changed", []Share{good[0], wrong}, ErrShare, "share 2 (holder b)"},
		{"changed, beyond k", []Share{good[0], good[2], wrong}, ErrShare, "share 2 (holder b)"},
		{"no scalar", []Share{good[0], tooLarge}, ErrShare, "share 2 (holder b)"},
		{"zero scalar", []Share{good[0], zero}, ErrShare, "share 2 (holder b)"},
		{"renumbered", []Share{good[0], renumbered}, ErrShare, "share 3 (holder c)"},
		{"number outside", []Share{good[0], outside}, ErrShare, "share 4"},
		{"never opened", []Share{good[0], {}}, ErrShare, "number 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := h.Combine(tt.shares)
			if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.names) {
				t.Errorf("Combine: %v, want %v that names %q", err, tt.class, tt.names)
			}
		})
	}
}

func TestSharesNotOpened(t *testing.T) {
	b, other := makeBackup(t, 2, 3, nil), makeBackup(t, 2, 3, nil)
	h := b.made.Header
	change := func(f func(*SealedShare)) SealedShare {
		s := h.Shares[1]
		s.sealed = bytes.Clone(s.sealed)
		f(&s)
		return s
	}
	tests := []struct {
		name   string
		sealed SealedShare
		key    ecdh.KeyExchanger
		class  error
	}{
		{"another holder's key", h.Shares[1], b.private[0], ErrHolder},
		{"a stranger's key", h.Shares[1], other.private[1], ErrHolder},
		{"a key on another curve", h.Shares[1], otherCurve(t), ErrHolder},
		{"of another backup", other.made.Header.Shares[1], other.private[1], ErrForeign},
		{"said to be of this backup", change(func(s *SealedShare) {
			*s = other.made.Header.Shares[1]
			s.Backup, s.Recipient = h.Fingerprint(), h.Shares[1].Recipient
		}), b.private[1], ErrShare},
		{"said to be to another", change(func(s *SealedShare) { s.Recipient = h.Shares[0].Recipient }), b.private[0], ErrShare},
		{"renumbered", change(func(s *SealedShare) { s.Number, s.Holder = 3, "holder c" }), b.private[1], ErrShare},
		{"renamed", change(func(s *SealedShare) { s.Holder = "holder c" }), b.private[1], ErrShare},
		{"number outside", change(func(s *SealedShare) { s.Number = 4 }), b.private[1], ErrShare},
		{"no point", change(func(s *SealedShare) { s.sealed[1] ^= 1 }), b.private[1], ErrShare},
		{"another point", change(func(s *SealedShare) { copy(s.sealed, h.Shares[0].sealed[:encapSize]) }), b.private[1], ErrShare},
		{"nonce", change(func(s *SealedShare) { s.sealed[encapSize] ^= 1 }), b.private[1], ErrShare},
		{"ciphertext", change(func(s *SealedShare) { s.sealed[encapSize+20] ^= 1 }), b.private[1], ErrShare},
		{"empty", SealedShare{}, b.private[1], ErrForeign},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := h.OpenShare(tt.sealed, tt.key)
			var at *Error
			if !errors.Is(err, tt.class) || !errors.As(err, &at) || !strings.HasPrefix(at.Part, "share ") {
				t.Errorf("OpenShare: %v, want %v that names the share", err, tt.class)
			}
		})
	}
}

// TestSharesOfWrongDealer: a share that opens but lies off the polynomial is named
// when it is opened.
func TestSharesOfWrongDealer(t *testing.T) {
	b := makeBackup(t, 2, 3, nil)
	h := b.made.Header
	value := bytes.Repeat([]byte{1}, shareSize)
	sealed, err := sealShare(newShare(h, 2, value), b.private[1].PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.OpenShare(sealed, b.private[1])
	if !errors.Is(err, ErrShare) || !strings.Contains(err.Error(), "share 2 (holder b)") || !strings.Contains(err.Error(), "commitments") {
		t.Errorf("OpenShare: %v", err)
	}
}

// TestSharesSealTo: a share travels to the machine that restores, apart from the
// file, and the holder's key does not.
func TestSharesSealTo(t *testing.T) {
	b := makeBackup(t, 2, 3, someEntries(3, 10))
	h := b.made.Header
	machine, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var shares []Share
	for _, s := range b.open(t, h, 1, 3) {
		sealed, err := s.SealTo(machine.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		text, err := sealed.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseSealedShare(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.OpenShare(back, b.private[s.Number-1]); !errors.Is(err, ErrHolder) {
			t.Errorf("the holder's key on a share sealed to the machine: %v", err)
		}
		again, err := h.OpenShare(back, machine)
		if err != nil {
			t.Fatal(err)
		}
		shares = append(shares, again)
	}
	m, err := h.Combine(shares)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&Unlocked{m}).Verify(bytes.NewReader(b.file)); err != nil {
		t.Error(err)
	}
	if _, err := shares[0].SealTo(otherCurve(t).PublicKey()); !errors.Is(err, ErrOptions) {
		t.Errorf("sealed to P-384: %v", err)
	}
	if _, err := (Share{}).SealTo(machine.PublicKey()); !errors.Is(err, ErrShare) {
		t.Errorf("a share that was never opened: %v", err)
	}
}

// TestSharesApart: the shares of the file are the same text apart.
func TestSharesApart(t *testing.T) {
	b := makeBackup(t, 2, 3, nil)
	for _, s := range b.made.Header.Shares {
		text, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b.file, text) {
			t.Errorf("share %d stands otherwise in the file", s.Number)
		}
		back, err := ParseSealedShare(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.made.Header.OpenShare(back, b.private[s.Number-1]); err != nil {
			t.Error(err)
		}
	}
	if _, err := ParseSealedShare(bytes.Repeat([]byte(" "), maxShare+1)); !errors.Is(err, ErrSyntax) {
		t.Errorf("a long text: %v", err)
	}
}
