package sampleaes

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// pieces calls take for b cut at cuts.
func pieces(b []byte, cuts []int, take func(piece []byte, last bool)) {
	from := 0
	for _, c := range cuts {
		c = min(max(c, from), len(b))
		take(b[from:c], c == len(b))
		from = c
	}
	take(b[from:], true)
}

func unescape(b []byte, cuts ...int) ([]byte, int) {
	var u unescaper
	var out []byte
	pieces(b, cuts, func(p []byte, last bool) { out = u.take(out, p, last) })
	return out, u.odd
}

func escape(b []byte, cuts ...int) []byte {
	var e escaper
	var out []byte
	pieces(b, cuts, func(p []byte, _ bool) { out = e.take(out, p) })
	return out
}

func TestEmulationPrevention(t *testing.T) {
	for _, tt := range []struct {
		stored, clear string
		odd           int
	}{
		{"", "", 0},
		{"abc", "abc", 0},
		{"a\x00\x00\x03\x01b", "a\x00\x00\x01b", 0},
		{"a\x00\x00\x03\x03b", "a\x00\x00\x03b", 0},
		{"a\x00\x00\x03\x00\x00\x03\x00b", "a\x00\x00\x00\x00\x00b", 0},
		{"a\x00\x00\x03\x00\x00\x04b", "a\x00\x00\x00\x00\x04b", 0},
		{"a\x00\x00\x03\x03", "a\x00\x00\x03", 0}, // cabac_zero_words
		{"a\x00\x00\x03", "a\x00\x00\x03", 1},     // and a producer that did not escape them
		{"a\x00\x00\x03\x04", "a\x00\x00\x04", 1}, // no need
		{"a\x00\x00\x02b", "a\x00\x00\x02b", 1},   // not escaped
	} {
		for cut := range len(tt.stored) + 1 {
			if got, odd := unescape([]byte(tt.stored), cut); string(got) != tt.clear || odd != tt.odd {
				t.Errorf("%q at %d: %q, odd %d", tt.stored, cut, got, odd)
			}
			if got := escape([]byte(tt.clear), cut); tt.odd == 0 && string(got) != tt.stored {
				t.Errorf("%q at %d: escaped %q", tt.clear, cut, got)
			}
		}
	}
}

func TestBlocks(t *testing.T) {
	k, iv := numberedKey(1), key.IV{1}
	c := newCiphers(k)
	r := rand.New(rand.NewPCG(7, 7))
	for n := 1; n < 700; n++ {
		nal := slice(r, max(n, 4))
		crypt := bytes.Clone(nal)
		if blocks(len(nal)) > 0 {
			c.encryptNAL(iv, crypt)
			crypt = escape(crypt)
		}
		if want := refNAL(k, iv, nal); !bytes.Equal(crypt, want) {
			t.Fatalf("%d bytes: not what the specification says", n)
		}
		if blocks(len(nal)) > 0 {
			crypt, _ = unescape(crypt)
			c.decryptNAL(iv, crypt)
		}
		if !bytes.Equal(crypt, nal) {
			t.Fatalf("%d bytes: does not decrypt", n)
		}
	}
}

func TestNextNAL(t *testing.T) {
	for _, tt := range []struct{ stream, want string }{
		{"\x00\x00\x00\x01a\x00\x00\x01bc", "a|bc"},
		{"\x00\x00\x01a\x00\x00\x00\x00\x00\x01b\x00\x00", "a|b"},
		{"\x00\x00\x01\x00\x00\x01b", "|b"},
		{"xyz", ""},
	} {
		var got []string
		for from := 0; ; {
			start, end, ok := nextNAL([]byte(tt.stream), from)
			if !ok {
				break
			}
			got = append(got, tt.stream[start:end])
			from = end
		}
		if strings.Join(got, "|") != tt.want {
			t.Errorf("%q: %q", tt.stream, got)
		}
	}
}

// TestNALUnitsAcrossPESPackets: cut anywhere, inside emulation prevention too,
// with all kinds of start codes and with zeros after NAL units.
func TestNALUnitsAcrossPESPackets(t *testing.T) {
	change, iv := testKeys()
	r := rand.New(rand.NewPCG(3, 4))
	starts := []string{"\x00\x00\x01", "\x00\x00\x00\x01", "\x00\x00\x00\x01\x09\xf0\x00\x00\x00\x01"}
	for n := range 200 {
		var clearES, es, last []byte
		for range 1 + r.IntN(4) {
			nal := slice(r, 20+r.IntN(900))
			nal[0] = []byte{0x65, 0x41, 0x06, 0x67, 0x02}[r.IntN(5)]
			start := []byte(starts[r.IntN(3)])
			if blocks(len(last)) == blocks(len(last)+2) && r.IntN(3) == 0 {
				start = append([]byte{0, 0}, start...)
			}
			last = nal
			clearES = append(append(clearES, start...), nal...)
			es = append(append(es, start...), refNAL(change.Old, iv, nal)...)
		}
		m := newMux(entry{typeH264, videoPID, indH})
		at := 0
		for len(es)-at > 0 {
			size := 1 + r.IntN(len(es)-at)
			m.pes(videoPID, 0xe0, true, r.IntN(3), es[at:at+size])
			at += size
		}
		res := rekeyed(t, "cut", change.Old, numberedKey(n), 0, m.out)
		if !bytes.Equal(elementary(res.Clear), clearES) {
			t.Fatal("not the clear stream")
		}
		var want []byte
		for from := 0; ; {
			start, end, ok := nextNAL(clearES, from)
			if !ok {
				want = append(want, clearES[from:]...)
				break
			}
			want = append(append(want, clearES[from:start]...), refNAL(numberedKey(n), iv, clearES[start:end])...)
			from = end
		}
		_, pes, _ := checkTS(res.Out, videoPID)
		var got []byte
		for _, p := range pes {
			got = append(got, p[9+int(p[8]):]...)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("not the stream that the specification says")
		}
	}
}

// TestShortNALUnits: what has no protected block stays as it is, escaped or not.
func TestShortNALUnits(t *testing.T) {
	change, _ := testKeys()
	start := []byte{0, 0, 0, 1}
	short := append([]byte{0x65}, bytes.Repeat([]byte{7}, 47)...)
	escaped := append([]byte{0x65}, bytes.Repeat([]byte{0, 0, 3, 1}, 15)...) // 61 bytes, 46 without
	m := newMux(entry{typeH264, videoPID, indH})
	m.pes(videoPID, 0xe0, true, 0, slices.Concat(start, short, start, escaped))
	res := rekeyed(t, "short", change.Old, change.New, 0, m.out)
	if !bytes.Equal(res.Out, m.out) || res.Frames != 0 {
		t.Error("changed")
	}
}

func FuzzNAL(f *testing.F) {
	for _, b := range samples(f, "video-*.ts") {
		_, pes, err := checkTS(b, videoPID)
		if err != nil {
			f.Fatal(err)
		}
		for _, p := range pes[:4] {
			start, end, _ := nextNAL(p, 9)
			f.Add(p[start:end], 40, 90)
			if start, end, ok := nextNAL(p, end); ok {
				f.Add(p[start:end], 3, 33)
			}
		}
	}
	f.Add([]byte("\x65\x00\x00\x03"), 1, 2)
	c, iv := newCiphers(numberedKey(3)), key.IV{9}
	f.Fuzz(func(t *testing.T, b []byte, cut, other int) {
		whole := escape(b)
		if !bytes.Equal(escape(b, cut, other), whole) || !bytes.Equal(refEscape(b), whole) {
			t.Fatal("escaping depends on cuts, or is wrong")
		}
		for i := 0; i+3 < len(whole); i++ {
			if whole[i] == 0 && whole[i+1] == 0 && (whole[i+2] < 3 || whole[i+2] == 3 && whole[i+3] > 3) {
				t.Fatalf("code at %d", i)
			}
		}
		back, odd := unescape(whole, other, cut)
		if !bytes.Equal(back, b) || odd != 0 {
			t.Fatalf("%x comes back as %x, odd %d", b, back, odd)
		}
		one, odd1 := unescape(b)
		if cutUp, odd2 := unescape(b, cut, other); !bytes.Equal(cutUp, one) || odd1 != odd2 {
			t.Fatal("unescaping depends on cuts")
		}
		crypt := bytes.Clone(b)
		c.encryptNAL(iv, crypt)
		c.decryptNAL(iv, crypt)
		if !bytes.Equal(crypt, b) {
			t.Fatal("encrypting and decrypting is not nothing")
		}
	})
}
