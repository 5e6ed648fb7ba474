package hls

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func keep(Ref) (Replacement, error) { return Replacement{}, nil }

// messy has everything that an editor likes to tidy away.
const messy = "\uFEFF#EXTM3U  \r\n" +
	"#EXT-X-VERSION:6\n" +
	"## comment \xff with bytes that are not UTF-8\r\n" +
	"\r\n" +
	"#EXT-X-UNKNOWN:A=\"b\",,=\n" +
	"#EXT-X-KEY: IV=0x000102030405060708090A0B0C0D0E0F , METHOD=AES-128,X-Y=\"a,b\" ,URI=\"../key.bin\"\t\r\n" +
	"#EXTINF:1.0,title, with \"commas\"\r\n" +
	"\n" +
	"  v1/a.ts \t\r\n" +
	"#EXTINF:1\n" +
	"v1/b.ts?q=1\r\n" +
	"#EXT-X-ENDLIST"

func TestEditKeepsEveryByte(t *testing.T) {
	for name, b := range everything(t) {
		p := parseSomewhere(t, name, b)
		out, err := p.Edit(keep)
		if err != nil || !bytes.Equal(out, b) {
			t.Errorf("%s: changed by no edit (err %v)", name, err)
		}
	}
}

func TestEditChangesOnlyWhatMoved(t *testing.T) {
	p := mustParse(t, messy)
	out, err := p.Edit(func(r Ref) (Replacement, error) {
		switch r.Role {
		case Key:
			return Replacement{URI: "_rekey/r1/key.bin"}, nil
		case Segment:
			return Replacement{URI: "_rekey/r1/" + r.URI}, nil
		default:
			return Replacement{}, nil
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("../key.bin", "_rekey/r1/key.bin", "v1/", "_rekey/r1/v1/").Replace(messy)
	if string(out) != want {
		t.Errorf("edited to\n%q\nwant\n%q", out, want)
	}
}

func TestEditKeyID(t *testing.T) {
	const tag = "#EXTM3U\n#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES-CTR,KEYID=0x%s,URI=\"%s\",KEYFORMAT=\"x\"\n"
	text := strings.NewReplacer("%s\"", "old\"", "0x%s", "0x"+strings.Repeat("0", 32)).Replace(tag)
	p := mustParse(t, text)
	id := "0x" + strings.Repeat("f", 32)
	out, err := p.Edit(func(Ref) (Replacement, error) { return Replacement{URI: "new", KeyID: id}, nil })
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("%s\"", "new\"", "0x%s", id).Replace(tag)
	if string(out) != want {
		t.Errorf("edited to %q, want %q", out, want)
	}
}

func TestEditRefusesWhatWouldReadOtherwise(t *testing.T) {
	p := mustParse(t, messy)
	for _, tt := range []struct {
		role Role
		r    Replacement
	}{
		{Key, Replacement{URI: `a"b`}},
		{Key, Replacement{URI: "a\nb"}},
		{Key, Replacement{KeyID: "0x" + strings.Repeat("f", 32)}},
		{Segment, Replacement{URI: "#a"}},
		{Segment, Replacement{URI: " a"}},
		{Segment, Replacement{URI: "a\r"}},
		{Segment, Replacement{URI: "a\xff"}},
	} {
		out, err := p.Edit(func(r Ref) (Replacement, error) {
			if r.Role == tt.role {
				return tt.r, nil
			}
			return Replacement{}, nil
		})
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: error %v, want ErrMalformed (%q)", tt.r, err, out)
		}
	}
}

func TestEditPassesErrorsOn(t *testing.T) {
	own := errors.New("own")
	if _, err := mustParse(t, messy).Edit(func(Ref) (Replacement, error) { return Replacement{}, own }); !errors.Is(err, own) {
		t.Errorf("error %v", err)
	}
}
