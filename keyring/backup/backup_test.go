package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

func TestRoundTrip(t *testing.T) {
	frame := 1 + 16 + 16 + 4
	exact := func(size int) []Entry { // one entry and the end fill size bytes
		n := size - frame - 17
		return []Entry{{KID: kidOf(1), Key: key.NewContentKey(), Record: json.RawMessage(`"` + strings.Repeat("y", n-2) + `"`)}}
	}
	tests := map[string][]Entry{
		"no entries":            nil,
		"one":                   someEntries(1, 10),
		"many over chunks":      someEntries(400, 1000),
		"a chunk to the byte":   exact(chunkSize),
		"a chunk and one byte":  exact(chunkSize + 1),
		"a chunk less one byte": exact(chunkSize - 1),
		"two chunks":            exact(2 * chunkSize),
		"longest record":        exact(frame + 17 + MaxRecord),
	}
	for name, entries := range tests {
		for _, kn := range [][2]int{{2, 2}, {2, 3}, {5, 7}} {
			t.Run(fmt.Sprintf("%s/%d of %d", name, kn[0], kn[1]), func(t *testing.T) {
				b := makeBackup(t, kn[0], kn[1], entries)
				u := b.unlocked(t)
				// No read is taken for a whole one.
				got, err := collect(u.Entries(iotest.HalfReader(iotest.DataErrReader(bytes.NewReader(b.file)))))
				if err != nil || !sameEntries(got, entries) {
					t.Fatalf("%d entries of %d, %v", len(got), len(entries), err)
				}
				sum, err := u.Verify(bytes.NewReader(b.file))
				if err != nil || sum != b.made.Summary {
					t.Fatalf("Verify: %+v, %v; written %+v", sum, err, b.made.Summary)
				}
				digest := sha256.Sum256(b.file)
				if sum.Bytes != int64(len(b.file)) || sum.SHA256 != hex.EncodeToString(digest[:]) || sum.Entries != uint64(len(entries)) {
					t.Errorf("summary %+v of %d bytes, %d entries", sum, len(b.file), len(entries))
				}
			})
		}
	}
}

func TestManifest(t *testing.T) {
	b := makeBackup(t, 2, 3, someEntries(3, 10))
	h, err := ReadHeader(bytes.NewReader(b.file))
	if err != nil {
		t.Fatal(err)
	}
	m := h.Manifest
	if m.Threshold != 2 || len(m.Holders) != 3 || len(h.Shares) != 3 || len(m.Commitments) != 2 ||
		!m.Created.Equal(created) || m.Tool != "rekey test" || m.Source != "s" || m.Comment != "c" {
		t.Errorf("manifest: %+v", m)
	}
	for i, c := range m.Holders {
		if c.Key != Fingerprint(b.private[i].PublicKey()) {
			t.Errorf("holder %d: key %s", i+1, c.Key)
		}
	}
	if h.Fingerprint() != b.made.Header.Fingerprint() {
		t.Error("the fingerprint read is not the one written")
	}
	other := makeBackup(t, 2, 3, b.entries)
	if other.made.Header.Fingerprint() == h.Fingerprint() || other.made.Header.Manifest.ID == m.ID {
		t.Error("two backups are one")
	}
	// Nothing of the entries stands in the clear.
	for _, e := range b.entries {
		raw := [16]byte{}
		if !e.Key.IsZero() {
			raw = e.Key.RevealSecretBytes()
		}
		if bytes.Contains(b.file, raw[:]) || bytes.Contains(b.file, []byte(e.KID.String())) {
			t.Fatal("the file shows a key or a KID")
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	k := key.NewContentKey()
	rec := json.RawMessage(`{}`)
	entries := map[string][]Entry{
		"zero KID":              {{Key: k, Record: rec}},
		"no record":             {{KID: kidOf(1), Key: k}},
		"no JSON":               {{KID: kidOf(1), Key: k, Record: json.RawMessage(`{`)}},
		"two JSON values":       {{KID: kidOf(1), Key: k, Record: json.RawMessage(`{}{}`)}},
		"long record":           {{KID: kidOf(1), Key: k, Record: json.RawMessage(`"` + strings.Repeat("x", MaxRecord) + `"`)}},
		"nothing of it":         {{KID: kidOf(1), Record: json.RawMessage(`null`)}},
		"twice":                 {{KID: kidOf(1), Key: k, Record: rec}, {KID: kidOf(1), Key: k, Record: rec}},
		"out of order":          {{KID: kidOf(2), Key: k, Record: rec}, {KID: kidOf(1), Key: k, Record: rec}},
		"record after bare":     {{KID: kidOf(1), Key: k, Record: json.RawMessage(`null`)}, {KID: kidOf(2), Key: k, Record: rec}},
		"bare entry twice":      {{KID: kidOf(1), Key: k, Record: json.RawMessage(`null`)}, {KID: kidOf(1), Key: k, Record: json.RawMessage(`null`)}},
		"bare entries disorder": {{KID: kidOf(2), Key: k, Record: json.RawMessage(`null`)}, {KID: kidOf(1), Key: k, Record: json.RawMessage(`null`)}},
	}
	for name, list := range entries {
		t.Run("entry/"+name, func(t *testing.T) {
			o, _ := options(t, 2, 2)
			if _, err := Write(io.Discard, each(list), o); !errors.Is(err, ErrEntry) {
				t.Errorf("Write: %v, want ErrEntry", err)
			}
		})
	}
	for name, change := range map[string]func(*Options){
		"k of 1":          func(o *Options) { o.Threshold = 1 },
		"k over n":        func(o *Options) { o.Threshold = 4 },
		"no holders":      func(o *Options) { o.Holders = nil },
		"too many":        func(o *Options) { o.Holders = many(t, maxHolders+1) },
		"no key":          func(o *Options) { o.Holders[0].Key = nil },
		"other curve":     func(o *Options) { o.Holders[0].Key = otherCurve(t).PublicKey() },
		"no name":         func(o *Options) { o.Holders[0].Name = "" },
		"line feed":       func(o *Options) { o.Holders[0].Name = "a\nb" },
		"name twice":      func(o *Options) { o.Holders[0].Name = o.Holders[1].Name },
		"key twice":       func(o *Options) { o.Holders[0].Key = o.Holders[1].Key },
		"no time":         func(o *Options) { o.Created = time.Time{} },
		"far future":      func(o *Options) { o.Created = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"seven digits":    func(o *Options) { o.Digits = 7 },
		"short secret":    func(o *Options) { o.TOTPSecret = make([]byte, 20) },
		"long comment":    func(o *Options) { o.Comment = strings.Repeat("x", maxText+1) },
		"comment not UTF": func(o *Options) { o.Comment = "\xff" },
		"account":         func(o *Options) { o.Account = "\x00" },
	} {
		t.Run("options/"+name, func(t *testing.T) {
			o, _ := options(t, 2, 3)
			change(&o)
			var b bytes.Buffer
			if _, err := Write(&b, each(nil), o); !errors.Is(err, ErrOptions) {
				t.Errorf("Write: %v, want ErrOptions", err)
			}
			if b.Len() > 0 {
				t.Error("something was written")
			}
		})
	}
}

func many(t *testing.T, n int) []Holder {
	o, _ := options(t, 2, n)
	return o.Holders
}

// TestMostOfAll: the largest header that Write takes is one that ReadHeader takes.
func TestMostOfAll(t *testing.T) {
	o, private := options(t, maxHolders, maxHolders)
	for i := range o.Holders {
		// '<' takes six bytes in JSON.
		o.Holders[i].Name = strings.Repeat("<", maxName-2) + fmt.Sprintf("%02d", i)
	}
	o.Tool, o.Source, o.Comment = strings.Repeat("<", maxText), strings.Repeat("&", maxText), strings.Repeat(">", maxText)
	o.Account, o.TOTPSecret, o.Digits = strings.Repeat("%", maxName), bytes.Repeat([]byte{7}, maxSecret), 8
	var file bytes.Buffer
	made, err := Write(&file, each(someEntries(3, 3)), o)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{file: file.Bytes(), made: made, private: private}
	if got, err := collect(b.unlocked(t).Entries(bytes.NewReader(b.file))); err != nil || len(got) != 4 {
		t.Fatalf("%d entries, %v", len(got), err)
	}
}

// TestFailedWrite: what stands after an error of the entries or the writer is no
// backup, and the error is theirs.
func TestFailedWrite(t *testing.T) {
	o, private := options(t, 2, 2)
	boom := errors.New("boom")
	var file bytes.Buffer
	made, err := Write(&file, func(yield func(Entry, error) bool) {
		for _, e := range someEntries(200, 1000) {
			if !yield(e, nil) {
				t.Error("stopped before the error")
				return
			}
		}
		yield(Entry{}, boom)
	}, o)
	if !errors.Is(err, boom) || made.Header != nil {
		t.Fatalf("Write: %v, want the entries' error", err)
	}
	h, err := ReadHeader(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{file: file.Bytes(), private: private}
	m, err := h.Combine(b.open(t, h, 1, 2))
	if err != nil {
		t.Fatal(err)
	}
	u := &Unlocked{m} // its second factor was never handed out
	if _, err := u.Verify(bytes.NewReader(file.Bytes())); !errors.Is(err, ErrDamaged) {
		t.Errorf("half a backup: %v, want ErrDamaged", err)
	}
	for _, n := range []int{0, 100, 3000, 100_000} {
		if _, err := Write(&brokenWriter{n, boom}, each(someEntries(200, 1000)), o); !errors.Is(err, boom) {
			t.Errorf("writer that breaks after %d bytes: %v", n, err)
		}
	}
}

type brokenWriter struct {
	left int
	err  error
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return w.left, w.err
	}
	w.left -= len(p)
	return len(p), nil
}

// TestBrokenReader: an error of the reader is no end of the file, wherever it
// comes.
func TestBrokenReader(t *testing.T) {
	b := makeBackup(t, 2, 2, someEntries(200, 1000))
	u := b.unlocked(t)
	boom := errors.New("boom")
	size := b.made.Header.size
	for _, n := range []int64{0, 20, size - 1, size, size + 10, size + chunkSize + overhead, int64(len(b.file))} {
		r := io.MultiReader(bytes.NewReader(b.file[:n]), iotest.ErrReader(boom))
		if _, err := u.Verify(r); !errors.Is(err, boom) || errors.Is(err, ErrDamaged) {
			t.Errorf("reader that breaks after %d bytes: %v", n, err)
		}
	}
}

// TestEntriesStop: a caller that has enough hears of no error.
func TestEntriesStop(t *testing.T) {
	b := makeBackup(t, 2, 2, someEntries(5, 10))
	n := 0
	for _, err := range b.unlocked(t).Entries(bytes.NewReader(b.file)) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d entries", n)
	}
}

// TestPrintsNothing: no formatting, logging or marshalling path shows a share, the
// master or the second factor.
func TestPrintsNothing(t *testing.T) {
	b := makeBackup(t, 2, 2, nil)
	m := b.master(t)
	shares := b.open(t, b.made.Header, 1)
	u := &Unlocked{m}
	secret := m.secret()[:]
	value := shares[0].value()[:]
	factor := secretOf(t, b.made.Enrolment.RevealURL())
	var out strings.Builder
	log := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{m, *u, u, shares[0], &shares[0], b.made.Enrolment, b.made, *b.made.Header, shares} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb, v)
		}
		log.Info("x", "v", v)
		if text, err := json.Marshal(v); err == nil {
			out.Write(text)
		}
	}
	for _, raw := range [][]byte{secret, value, factor} {
		for _, spelled := range []string{
			string(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
			strings.Trim(fmt.Sprint(raw), "[]"), strings.Trim(fmt.Sprintf("%#v", raw), "[]byte{}"),
			b.made.Enrolment.RevealURL(),
		} {
			if strings.Contains(out.String(), spelled) {
				t.Fatal("a secret was printed")
			}
		}
	}
}

// TestUnderFIPS runs this test binary again with the Go Cryptographic Module
// refusing everything that is not approved.
func TestUnderFIPS(t *testing.T) {
	if strings.Contains(os.Getenv("GODEBUG"), "fips140=only") {
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^(TestRoundTrip|TestVector|TestShares|TestFactor|TestKeys|TestTamperChunks)", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("under fips140=only: %v\n%s", err, out)
	}
	for _, name := range []string{"TestRoundTrip", "TestVector", "TestSharesSealTo", "TestFactorRFC6238", "TestKeysOfOpenSSL"} {
		if !bytes.Contains(out, []byte("--- PASS: "+name+" ")) {
			t.Errorf("%s did not run under fips140=only", name)
		}
	}
}
