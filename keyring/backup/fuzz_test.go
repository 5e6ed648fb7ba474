package backup

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func classed(t *testing.T, err error, classes ...error) {
	t.Helper()
	for _, c := range classes {
		if errors.Is(err, c) {
			return
		}
	}
	t.Fatalf("error without a class: %v", err)
}

func FuzzReadHeader(f *testing.F) {
	f.Add(vector(f, "v2-small.backup").file)
	f.Add(makeBackup(f, 5, 7, nil).file)
	f.Fuzz(func(t *testing.T, file []byte) {
		h, err := ReadHeader(bytes.NewReader(file))
		if err != nil {
			classed(t, err, ErrSyntax, ErrVersion)
			return
		}
		if h.size > int64(len(file)) || len(h.Shares) != len(h.Manifest.Holders) {
			t.Fatalf("%d bytes of header in %d, %d shares", h.size, len(file), len(h.Shares))
		}
		// What was read can be used without a panic.
		if _, err := h.Combine(nil); !errors.Is(err, ErrTooFew) {
			t.Fatalf("Combine: %v", err)
		}
		one := make([]byte, shareSize)
		one[shareSize-1] = 1
		if _, err := h.Combine([]Share{newShare(h, 1, one)}); err == nil {
			t.Fatal("one share is enough")
		}
		if _, err := h.Manifest.line(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzBackup changes a whole backup whose master is known: it reads as it is, or
// not to the end.
func FuzzBackup(f *testing.F) {
	// Not a new one: the fuzzer's processes must work on the same.
	b := vector(f, "v2-small.backup")
	u := b.unlockedVector(f)
	entries, err := collect(u.Entries(bytes.NewReader(b.file)))
	if err != nil || len(entries) == 0 {
		f.Fatalf("%d entries, %v", len(entries), err)
	}
	f.Add(b.file)
	f.Add(makeBackup(f, 2, 2, someEntries(3, 10)).file)
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := collect(u.Entries(bytes.NewReader(file)))
		if err == nil && (!bytes.Equal(file, b.file) || !sameEntries(got, entries)) {
			t.Fatal("another file reads as this one")
		}
		if err != nil {
			classed(t, err, ErrSyntax, ErrVersion, ErrForeign, ErrDamaged)
		}
	})
}

// FuzzEntries reads what stands inside the chunks. What is read, written again, is
// the same.
func FuzzEntries(f *testing.F) {
	var seed bytes.Buffer
	w := &entryWriter{w: &seed}
	for _, e := range someEntries(7, 10) {
		if err := w.put(e); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.end(); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes())
	f.Fuzz(func(t *testing.T, plain []byte) {
		var back bytes.Buffer
		r, w := &entryReader{r: bytes.NewReader(plain)}, &entryWriter{w: &back}
		for {
			e, err := r.next()
			if err != nil {
				if back.Len() > len(plain) {
					t.Fatal("more was read than there is")
				}
				if !errors.Is(err, io.EOF) {
					classed(t, err, ErrSyntax)
					return
				}
				break
			}
			if err := w.put(e); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.end(); err != nil || !bytes.Equal(back.Bytes(), plain) {
			t.Fatalf("written again it is another: %v", err)
		}
	})
}

func FuzzParseSealedShare(f *testing.F) {
	b := vector(f, "v2-small.backup")
	for _, s := range append(b.made.Header.Shares, makeBackup(f, 2, 3, nil).made.Header.Shares...) {
		text, err := s.MarshalText()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSealedShare(text)
		if err != nil {
			classed(t, err, ErrSyntax)
			return
		}
		if _, err := b.made.Header.OpenShare(s, b.private[0]); err != nil {
			classed(t, err, ErrForeign, ErrHolder, ErrShare)
		}
		out, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseSealedShare(out)
		if err != nil || again.Number != s.Number || again.Holder != s.Holder || !bytes.Equal(again.sealed, s.sealed) {
			t.Fatalf("written again it is another: %v", err)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	names, err := filepath.Glob(filepath.Join("testdata", "*.pem"))
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(bytes.ReplaceAll(text, []byte("PRIVATE"), []byte("PUBLIC")))
		f.Add(bytes.ReplaceAll(text, []byte("PRIVATE KEY"), []byte("CERTIFICATE")))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if k, err := ParsePrivateKey(text); err != nil {
			classed(t, err, ErrKeyFile)
		} else {
			Fingerprint(k.PublicKey())
		}
		if k, err := ParsePublicKey(text); err != nil {
			classed(t, err, ErrKeyFile)
		} else {
			Fingerprint(k)
		}
	})
}
