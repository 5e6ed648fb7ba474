package backup

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/seed-6133abe0/rekey/key"
)

var created = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// bench is a backup and all that opens it.
type bench struct {
	file    []byte
	made    Made
	private []*ecdh.PrivateKey
	entries []Entry
}

func options(t testing.TB, k, n int) (Options, []*ecdh.PrivateKey) {
	t.Helper()
	o := Options{Threshold: k, Created: created, Tool: "rekey test", Source: "s", Comment: "c"}
	var private []*ecdh.PrivateKey
	for i := range n {
		p, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private = append(private, p)
		o.Holders = append(o.Holders, Holder{fmt.Sprintf("holder %c", 'a'+i), p.PublicKey()})
	}
	return o, private
}

func makeBackup(t testing.TB, k, n int, entries []Entry) *bench {
	t.Helper()
	o, private := options(t, k, n)
	var b bytes.Buffer
	made, err := Write(&b, each(entries), o)
	if err != nil {
		t.Fatalf("Write: %v", err)
	}
	return &bench{b.Bytes(), made, private, entries}
}

func each(entries []Entry) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func kidOf(n int) (kid key.KID) {
	binary.BigEndian.PutUint64(kid[8:], uint64(n))
	return kid
}

// someEntries has records of about size bytes, and every fifth key destroyed.
func someEntries(n, size int) []Entry {
	var entries []Entry
	for i := 1; i <= n; i++ {
		e := Entry{KID: kidOf(i), Key: key.NewContentKey()}
		e.Record = json.RawMessage(fmt.Sprintf(`{"kid":"%s","note":"%s"}`, e.KID, strings.Repeat("x", size)))
		if i%5 == 0 {
			e.Key = key.ContentKey{}
		}
		entries = append(entries, e)
	}
	return append(entries, Entry{KID: kidOf(1), Key: key.NewContentKey(), Record: json.RawMessage("null")})
}

// open opens the shares of the holders with these numbers, counted from 1.
func (b *bench) open(t testing.TB, h *Header, numbers ...int) []Share {
	t.Helper()
	var shares []Share
	for _, n := range numbers {
		s, err := h.OpenShare(h.Shares[n-1], b.private[n-1])
		if err != nil {
			t.Fatalf("OpenShare %d: %v", n, err)
		}
		shares = append(shares, s)
	}
	return shares
}

func (b *bench) master(t testing.TB) *Master {
	t.Helper()
	h, err := ReadHeader(bytes.NewReader(b.file))
	if err != nil {
		t.Fatalf("ReadHeader: %v", err)
	}
	numbers := []int{}
	for i := range h.Manifest.Threshold {
		numbers = append(numbers, len(h.Shares)-i)
	}
	m, err := h.Combine(b.open(t, h, numbers...))
	if err != nil {
		t.Fatalf("Combine: %v", err)
	}
	t.Cleanup(m.Close)
	return m
}

func (b *bench) unlocked(t testing.TB) *Unlocked {
	t.Helper()
	u, err := b.master(t).Unlock(b.code(t, created), created, never)
	if err != nil {
		t.Fatalf("Unlock: %v", err)
	}
	return u
}

// never is a hook of Unlock that knows no used code.
func never(uint64) error { return nil }

// code is what an authenticator shows that was enrolled with the URL.
func (b *bench) code(t testing.TB, at time.Time) string {
	t.Helper()
	return codeOf(t, b.made.Enrolment.RevealURL(), at)
}

func codeOf(t testing.TB, enrolled string, at time.Time) string {
	t.Helper()
	k, err := otp.NewKeyFromURL(enrolled)
	if err != nil {
		t.Fatal(err)
	}
	code, err := totp.GenerateCodeCustom(k.Secret(), at, totp.ValidateOpts{
		Period: uint(k.Period()), Digits: k.Digits(), Algorithm: k.Algorithm(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func secretOf(t testing.TB, enrolled string) []byte {
	t.Helper()
	u, err := url.Parse(enrolled)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// collect is what a caller gets before the error.
func collect(seq iter.Seq2[Entry, error]) (entries []Entry, err error) {
	for e, err := range seq {
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func sameEntries(a, b []Entry) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].KID != b[i].KID || !a[i].Key.Equal(b[i].Key) || !bytes.Equal(a[i].Record, b[i].Record) {
			return false
		}
	}
	return true
}

// restore goes the whole way from the file's bytes with the bench's keys, and
// returns what was given out, and the first error of any step.
func (b *bench) restore(file []byte, code string) ([]Entry, error) {
	h, err := ReadHeader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	var shares []Share
	for i := range min(b.made.Header.Manifest.Threshold, len(h.Shares)) {
		s, err := h.OpenShare(h.Shares[i], b.private[i])
		if err != nil {
			return nil, err
		}
		shares = append(shares, s)
	}
	m, err := h.Combine(shares)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	u, err := m.Unlock(code, created, never)
	if err != nil {
		return nil, err
	}
	return collect(u.Entries(bytes.NewReader(file)))
}
