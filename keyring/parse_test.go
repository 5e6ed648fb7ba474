package keyring

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/seed-6133abe0/rekey/key"
)

const (
	kidA = "00112233445566778899aabbccddeeff"
	kidB = "10112233445566778899aabbccddeeff"
	keyA = "a0b1c2d3e4f5061728394a5b6c7d8e9f"
	keyB = "b0b1c2d3e4f5061728394a5b6c7d8e9f"
	// The same in base64url, by another implementation (basenc).
	kidA64 = "ABEiM0RVZneImaq7zN3u_w"
	kidB64 = "EBEiM0RVZneImaq7zN3u_w"
	keyA64 = "oLHC0-T1BhcoOUpbbH2Onw"
	keyB64 = "sLHC0-T1BhcoOUpbbH2Onw"
)

func jwk(kid, k string) string { return `{"kty":"oct","kid":"` + kid + `","k":"` + k + `"}` }

func TestParseImport(t *testing.T) {
	type want struct{ kid, key, uri string }
	a, b := want{kidA, keyA, ""}, want{kidB, keyB, ""}
	tests := []struct {
		name, in string
		want     []want
	}{
		{"nothing", "", nil},
		{"blank", " \n\t\r\n", nil},
		{"comments only", "# none\n#", nil},
		{"one line", kidA + ":" + keyA, []want{a}},
		{"two lines", kidA + ":" + keyA + "\n" + kidB + ":" + keyB + "\n", []want{a, b}},
		{"comments, blanks, CRLF, BOM", "\xef\xbb\xbf# keys\r\n\r\n " + kidA + ":" + keyA + " \r\n#x\r\n" + kidB + ":" + keyB, []want{a, b}},
		{"case and dashes", "00112233-4455-6677-8899-AABBCCDDEEFF:" + strings.ToUpper(keyA), []want{a}},
		{"URI", kidA + ":" + keyA + " https://k.example/a.key?x=1#y", []want{{kidA, keyA, "https://k.example/a.key?x=1#y"}}},
		{"URI after tabs", kidA + ":" + keyA + "\t \tmovie/é.key", []want{{kidA, keyA, "movie/é.key"}}},
		{"the same twice", kidA + ":" + keyA + "\n" + kidA + ":" + keyA, []want{a}},
		{"JWK set", `{"keys":[` + jwk(kidA64, keyA64) + "," + jwk(kidB64, keyB64) + `]}`, []want{a, b}},
		{"JWK set, EME form", " \n" + `{"type":"temporary","keys":[{"alg":"A128KW","Kid":1,"x":{"k":2},"kty":"oct","k":"` + keyA64 + `","kid":"` + kidA64 + `"}],"more":[{}]}`, []want{a}},
		{"JWK set, empty", `{"keys":[]}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseImport(iotest.OneByteReader(strings.NewReader(tt.in)))
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("%d entries, want %d", len(got), len(tt.want))
			}
			for i, w := range tt.want {
				k, err := key.ParseContentKey(w.key)
				if err != nil {
					t.Fatal(err)
				}
				if got[i].KID.String() != w.kid || !got[i].Key.Equal(k) || got[i].URI != w.uri {
					t.Errorf("entry %d: %s %q, or another key; want %s %q", i, got[i].KID, got[i].URI, w.kid, w.uri)
				}
			}
		})
	}
}

func TestParseImportSyntax(t *testing.T) {
	good := kidA + ":" + keyA
	tests := []struct {
		name, in string
		line     int
		reason   string
	}{
		{"no colon", "\n\n" + keyA, 3, "no colon"},
		{"words", good + "\nhello\n", 2, "no colon"},
		{"KID short", kidA[1:] + ":" + keyA, 1, "KID is not"},
		{"KID not hex", "z" + kidA[1:] + ":" + keyA, 1, "KID is not"},
		{"KID missing", ":" + keyA, 1, "KID is not"},
		{"KID zero", strings.Repeat("0", 32) + ":" + keyA, 1, "names no key"},
		{"key short", kidA + ":" + keyA[1:], 1, "key is not"},
		{"key long", kidA + ":" + keyA + "0", 1, "key is not"},
		{"key not hex", kidA + ":" + keyA[1:] + "x", 1, "key is not"},
		{"key with dashes", kidA + ":a0b1c2d3-e4f5-0617-2839-4a5b6c7d8e9f", 1, "key is not"},
		{"key missing", kidA + ":", 1, "key is not"},
		{"key after a space", kidA + ": " + keyA, 1, "key is not"},
		{"three columns", kidA + ":" + keyA + ":x", 1, "key is not"},
		{"URI with a space", good + " a b", 1, "key URI"},
		{"URI with a quote", good + " a\"b", 1, "key URI"},
		{"URI with a control character", good + " a\x00b", 1, "key URI"},
		{"URI not UTF-8", good + " a\xff", 1, "key URI"},
		{"comment behind", good + " # mine", 1, "comment"},
		{"KID with two keys", good + "\n#\n" + kidA + ":" + keyB, 3, "another key on line 1"},
		{"KID with two URIs", good + " a.key\n" + good, 2, "another key URI, or none, on line 1"},
		{"URI with two KIDs", good + " a.key\n" + kidB + ":" + keyB + " a.key", 2, "another KID on line 1"},
		{"line too long", good + "\n" + strings.Repeat("a", maxLine), 2, "longer than"},
		{"JSON cut", "{\n\"keys\":[\n" + jwk(kidA64, keyA64), 3, "not a JSON object"},
		{"JSON and more", `{"keys":[]}` + "\n" + good, 2, "not a JSON object"},
		{"no keys", "\n" + jwk(kidA64, keyA64), 2, "not a JWK set"},
		{"keys no array", `{"keys":{"` + keyA + `":1}}`, 1, "not an array"},
		{"keys null", `{"keys":null}`, 1, "not an array"},
		{"keys twice", `{"keys":[],` + "\n" + `"keys":[]}`, 2, "twice"},
		{"key no object", `{"keys":["` + keyA64 + `"]}`, 1, "keys[0]: not an object"},
		{"other case", `{"Keys":[]}`, 1, "not a JWK set"},
		{"kty RSA", "{\"keys\":[\n" + jwk(kidA64, keyA64) + ",\n" + strings.Replace(jwk(kidB64, keyB64), "oct", "RSA", 1) + "]}", 3, `keys[1]: kty is not "oct"`},
		{"no kid", `{"keys":[{"kty":"oct","k":"` + keyA64 + `"}]}`, 1, "kid is not"},
		{"kid hex", `{"keys":[` + jwk(kidA, keyA64) + `]}`, 1, "kid is not"},
		{"k padded", `{"keys":[` + jwk(kidA64, keyA64+"==") + `]}`, 1, "k is not"},
		{"k base64, not url", `{"keys":[` + jwk(kidA64, "+"+keyA64[1:]) + `]}`, 1, "k is not"},
		{"k with spare bits", `{"keys":[` + jwk(kidA64, keyA64[:21]+"x") + `]}`, 1, "k is not"},
		{"k with line break", `{"keys":[` + jwk(kidA64, keyA64[:20]+`\n`+keyA64[20:21]) + `]}`, 1, "k is not"},
		{"k a number", `{"keys":[{"kty":"oct","k":1}]}`, 1, `member "k" is not a string`},
		{"k twice", `{"keys":[{"kty":"oct","k":"` + keyA64 + `","k":"` + keyB64 + `"}]}`, 1, `member "k" twice`},
		{"two keys", `{"keys":[` + jwk(kidA64, keyA64) + "\n," + jwk(kidA64, keyB64) + `]}`, 2, "another key on line 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseImport(strings.NewReader(tt.in))
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, ErrSyntax) {
				t.Fatalf("%v, want an *Error of class ErrSyntax", err)
			}
			if e.Line != tt.line || !strings.Contains(e.Reason, tt.reason) {
				t.Errorf("line %d: %s; want line %d: …%s…", e.Line, e.Reason, tt.line, tt.reason)
			}
			if got != nil {
				t.Error("entries beside the error")
			}
			wantNothingQuoted(t, tt.in, err)
		})
	}
}

func TestParseImportReadError(t *testing.T) {
	for _, in := range []string{"", kidA + ":", `{"keys":[`} {
		_, err := ParseImport(io.MultiReader(strings.NewReader(in), iotest.ErrReader(io.ErrClosedPipe)))
		if !errors.Is(err, io.ErrClosedPipe) || errors.Is(err, ErrSyntax) {
			t.Errorf("after %q: %v, want the reader's error", in, err)
		}
	}
}

// wantNothingQuoted: no run of 8 hex or base64 characters of the input is in
// the error, but for the words of errors themselves.
func wantNothingQuoted(t *testing.T, in string, err error) {
	t.Helper()
	text := strings.ToLower(err.Error())
	for _, word := range strings.FieldsFunc(strings.ToLower(in), func(r rune) bool {
		return !strings.ContainsRune("0123456789abcdefghijklmnopqrstuvwxyz-_+", r)
	}) {
		for i := 0; i+8 <= len(word); i++ {
			if strings.ContainsAny(word[i:i+8], "0123456789") && strings.Contains(text, word[i:i+8]) {
				t.Errorf("the error quotes the input: %v", err)
				return
			}
		}
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(kidA + ":" + keyA + " a.key\n# c\n" + kidB + ":" + keyB))
	f.Add([]byte("\xef\xbb\xbf \n" + keyA))
	f.Add([]byte(`{"keys":[` + jwk(kidA64, keyA64) + `]}`))
	f.Add([]byte(`{"keys":[{"k":1}],"keys":`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseImport(strings.NewReader(string(b)))
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, ErrSyntax) || e.Line < 1 || e.Line > strings.Count(string(b), "\n")+1 {
				t.Fatalf("%v: no *Error with a line of the input", err)
			}
			wantNothingQuoted(t, string(b), err)
			return
		}
		seen := map[key.KID]bool{}
		for _, e := range list {
			if e.KID.IsZero() || e.Key.IsZero() || seen[e.KID] || checkURI(e.URI) != nil {
				t.Fatalf("entry %s is empty, a repeat or has a bad URI", e.KID)
			}
			seen[e.KID] = true
		}
	})
}
