package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/keyring"
)

func TestParseFileKeys(t *testing.T) {
	const text = "\xef\xbb\xbf# comment\r\n\r\n  " + oldPair + "\t \t" + newPair + " \r\n" +
		"00000000-0000-0000-0000-00000000000A:FF0102030405060708090A0B0C0D0E0F " + newPair + "\n" +
		"00000000000000000000000000000004:ff0102030405060708090a0b0c0d0e0f"
	list, err := parseFileKeys("keys", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range list {
		got = append(got, fmt.Sprint(k.line, k.kid, k.minted))
	}
	want := "3 00000000000000000000000000000001 false, 4 0000000000000000000000000000000a false, 5 00000000000000000000000000000004 true"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	if list.minted() != 1 || len(list.changes()) != 3 || list[2].change.NewKID.IsZero() || list[2].change.New.IsZero() {
		t.Errorf("minted %d, changes %v", list.minted(), list.changes())
	}
	if list[0].change.New.Equal(list[0].change.Old) || !list[0].change.New.Equal(list[1].change.New) {
		t.Error("keys in the wrong place")
	}
}

func TestParseFileKeysRefuses(t *testing.T) {
	const (
		kid3 = "00000000000000000000000000000003"
		kid4 = "00000000000000000000000000000004"
		keyA = "a00102030405060708090a0b0c0d0e0f"
		keyB = "b00102030405060708090a0b0c0d0e0f"
	)
	for name, tc := range map[string]struct {
		text, want string
		class      error
	}{
		"empty":            {"# nothing\n", "no key in it", keyring.ErrSyntax},
		"no colon":         {oldPair[:32], "line 1: bad key syntax: the old key has no colon", keyring.ErrSyntax},
		"old KID":          {"1:" + keyA, "the old KID is not 32", keyring.ErrSyntax},
		"old KID's digits": {strings.Repeat("g", 32) + ":" + keyA, "the old KID is not 32", keyring.ErrSyntax},
		"old key":          {kid3 + ":" + keyA[1:], "the old key is not 32", keyring.ErrSyntax},
		"new key":          {oldPair + " " + kid3 + ":" + keyA + "f", "the new key is not 32", keyring.ErrSyntax},
		"new KID zero":     {oldPair + " " + strings.Repeat("0", 32) + ":" + keyA, "the new KID is zero", keyring.ErrSyntax},
		"three":            {oldPair + " " + newPair + " # comment", "comments on lines of their own", keyring.ErrSyntax},
		"a JWK set":        {`{"keys":[]}`, "line 1", keyring.ErrSyntax},
		"same KID":         {oldPair + " " + oldPair[:32] + ":" + keyA, "the new KID is the old KID", keyring.ErrSyntax},
		"same key":         {oldPair + " " + kid3 + oldPair[32:], "the new key is the old key", keyring.ErrSyntax},
		"old KID twice":    {oldPair + "\n\n" + oldPair, "line 3: bad key syntax: the old KID is that of line 1", keyring.ErrSyntax},
		"a chain of KIDs":  {oldPair + " " + kid3 + ":" + keyA + "\n" + kid3 + ":" + keyB + " " + newPair, "line 1: bad key syntax: the new KID is the old KID of line 2", keyring.ErrSyntax},
		"a chain of keys":  {oldPair + " " + kid3 + ":" + keyA + "\n" + kid4 + ":" + keyA, "line 1: bad key syntax: the new key is the old key of line 2", keyring.ErrSyntax},
		"one KID two keys": {oldPair + " " + newPair + "\n" + kid3 + ":" + keyA + " " + newPair[:32] + ":" + keyB, "line 2: bad key syntax: the new KID is that of line 1, with another key", keyring.ErrSyntax},
		"weak":             {oldPair + " " + kid3 + ":" + strings.Repeat("ab", 16), "line 1", keyring.ErrWeak},
		"its own KID":      {oldPair + " " + keyA + ":" + keyA, "line 1", keyring.ErrWeak},
		"long":             {"\n" + strings.Repeat("a", maxKeyLine+1), "line 2: bad key syntax: longer than", keyring.ErrSyntax},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseFileKeys("keys.txt", strings.NewReader(tc.text))
			if !errors.Is(err, tc.class) || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "read keys.txt: ") {
				t.Fatalf("%v, want %q", err, tc.want)
			}
			for _, secret := range []string{oldPair[33:49], newPair[33:49], keyA[:16], keyB[:16]} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("quotes a key: %v", err)
				}
			}
			if l := errorLineOf(err); l.Object != "keys.txt" || exitCode(err) != exitFailed {
				t.Errorf("object %q, exit %d", l.Object, exitCode(err))
			}
		})
	}
}

type brokenReader struct{ text string }

func (b *brokenReader) Read(p []byte) (int, error) {
	n := copy(p, b.text)
	b.text = b.text[n:]
	if n == 0 {
		return 0, errors.New("lost")
	}
	return n, nil
}

// The beginning of a line is not a line.
func TestParseFileKeysBrokenRead(t *testing.T) {
	_, err := parseFileKeys("keys", &brokenReader{oldPair})
	if err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("%v, want the reader's error", err)
	}
}
