package hls

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

var std = base64.StdEncoding.EncodeToString

func psshOf(system [16]byte, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(32+len(data)))
	b = append(append(b, "pssh\x00\x00\x00\x00"...), system[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

func widevineOf(note string, kids ...key.KID) []byte {
	var data []byte
	for _, kid := range kids {
		data = append(append(data, 0x12, 16), kid[:]...)
	}
	return psshOf(pssh.Widevine, append(append(data, 0x22, byte(len(note))), note...))
}

// headerOf is a WRMHEADER for some KIDs, and objectOf the object around it.
func headerOf(url string, kids ...key.KID) (header []byte) {
	var list strings.Builder
	for _, kid := range kids {
		g := kid.GUID()
		list.WriteString(`<KID ALGID="AESCTR" VALUE="` + std(g[:]) + `"></KID>`)
	}
	for _, u := range utf16.Encode([]rune(`<WRMHEADER version="4.2.0.0"><DATA><PROTECTINFO><KIDS>` + list.String() + `</KIDS></PROTECTINFO><LA_URL>` + url + `</LA_URL></DATA></WRMHEADER>`)) {
		header = binary.LittleEndian.AppendUint16(header, u)
	}
	return header
}

func objectOf(records ...[]byte) []byte {
	b := make([]byte, 6)
	for i, r := range records {
		kind := uint16(1)
		if i > 0 {
			kind = 3 // an embedded licence store
		}
		b = binary.LittleEndian.AppendUint16(b, kind)
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(r))), r...)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	binary.LittleEndian.PutUint16(b[4:], uint16(len(records)))
	return b
}

func served(now key.KID) key.Change {
	return key.Change{Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: now,
		PSSH: [][]byte{widevineOf("key service", now), psshOf(pssh.PlayReady, objectOf(headerOf("https://l.example/", now)))}}
}

// TestNewDRMDataInLibrary: the tags of Shaka Packager get the service's data of
// their own key, whichever keys their old data names; nothing else changes.
func TestNewDRMDataInLibrary(t *testing.T) {
	changes := key.Changes{}
	for kid := range libraryKeys(t) {
		changes[kid] = served(key.NewKID())
	}
	seen := map[string]int{}
	for name, b := range library(t, "movie/*.m3u8") {
		p := mustParse(t, string(b))
		want := string(b)
		out, err := p.Edit(func(r Ref) (Replacement, error) {
			if r.Key == nil {
				return Replacement{}, nil
			}
			kids, err := KeyTagKIDs(r.Key)
			if err != nil || len(kids) == 0 {
				t.Fatal(kids, err)
			}
			if why, err := OldDRMData(r.Key, changes); why != "" || err != nil {
				t.Errorf("%s line %d: %q, %v", name, r.Line, why, err)
			}
			c := changes[kids[0]]
			head, _, _ := strings.Cut(r.Key.URI, ";base64,")
			data := std(c.NewKID[:])
			switch r.Key.KeyFormat {
			case "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed":
				seen["widevine"]++
				data = std(c.PSSH[0])
				id := r.Key.KeyID
				want = strings.ReplaceAll(want, id, id[:2]+key.SpellLike(id[2:], c.NewKID))
			case formatPlayReady:
				seen["playready"]++
				data = std(c.PSSH[1][32:])
			}
			want = strings.ReplaceAll(want, r.Key.URI, head+";base64,"+data)
			rep, updated, err := RekeyKeyTag(r.Key, changes)
			if !updated {
				t.Errorf("%s line %d: not updated", name, r.Line)
			}
			return rep, err
		})
		if err != nil {
			t.Fatal(err)
		}
		if string(out) != want {
			t.Errorf("%s: became\n%s\nwant\n%s", name, out, want)
		}
	}
	if seen["widevine"] < 3 || seen["playready"] < 3 {
		t.Errorf("tags seen: %v", seen)
	}
}

// TestNewDRMDataInKeyTags: several keys in one tag, headers without an object, and
// what stays.
func TestNewDRMDataInKeyTags(t *testing.T) {
	a, b, stays := key.KID{0xa}, key.KID{0xb}, key.KID{0xc}
	na, nb := key.KID{0xa, 1}, key.KID{0xb, 1}
	ch := key.Changes{a: served(na), b: served(nb)}
	multi := served(na)
	multi.PSSH[1] = psshOf(pssh.PlayReady, objectOf(headerOf("u", na), []byte("licence")))
	hex := func(kid key.KID) string { return "0x" + kid.String() }
	const wide, ready = "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed", formatPlayReady
	for name, tc := range map[string]struct {
		ch         key.Changes
		format, id string
		old, want  []byte
		kept       string
	}{
		"one":                {ch, wide, "", widevineOf("x", a), ch[a].PSSH[0], ""},
		"its own of two":     {ch, wide, hex(b), widevineOf("x", a, b), ch[b].PSSH[0], ""},
		"two without KEYID":  {ch, wide, "", widevineOf("x", a, b), widevineOf("x", na, nb), "2 new pieces"},
		"own of one changed": {ch, wide, hex(a), widevineOf("x", stays, a), ch[a].PSSH[0], ""},
		"own stays":          {ch, wide, hex(stays), widevineOf("x", stays, a), widevineOf("x", stays, na), "2 new pieces"},
		"opaque":             {ch, wide, hex(a), psshOf(pssh.Widevine, []byte("\x22\x01x")), ch[a].PSSH[0], ""},
		"opaque, not known":  {ch, wide, "", psshOf(pssh.Widevine, []byte("\x22\x01x")), psshOf(pssh.Widevine, []byte("\x22\x01x")), ""},
		"PlayReady box":      {ch, ready, "", psshOf(pssh.PlayReady, objectOf(headerOf("u", a))), ch[a].PSSH[1], ""},
		"PlayReady object":   {ch, ready, "", objectOf(headerOf("u", a)), ch[a].PSSH[1][32:], ""},
		"header":             {ch, ready, "", headerOf("u", a), headerOf("https://l.example/", na), ""},
		"header with mark":   {ch, ready, "", append([]byte("\xff\xfe"), headerOf("u", a)...), append([]byte("\xff\xfe"), headerOf("https://l.example/", na)...), ""},
		"header of several":  {key.Changes{a: multi}, ready, "", headerOf("u", a), headerOf("u", na), "not one header alone"},
	} {
		t.Run(name, func(t *testing.T) {
			tag := KeyTag{Method: MethodSampleAESCTR, KeyFormat: tc.format, KeyID: tc.id, URI: "data:;base64," + std(tc.old)}
			rep, updated, err := RekeyKeyTag(&tag, tc.ch)
			if err != nil {
				t.Fatal(err)
			}
			uri := rep.URI
			if uri == "" {
				uri = tag.URI
			}
			if uri != "data:;base64,"+std(tc.want) || updated == bytes.Equal(tc.old, tc.want) && tc.id == "" {
				t.Errorf("became %s, want %s", uri, std(tc.want))
			}
			why, err := OldDRMData(&tag, tc.ch)
			if err != nil || (why == "") != (tc.kept == "") || !strings.Contains(why, tc.kept) {
				t.Errorf("kept: %q, %v; want %q", why, err, tc.kept)
			}
		})
	}
}

func TestUnusableDRMData(t *testing.T) {
	a := key.KID{0xa}
	c := served(key.KID{0xb})
	c.PSSH[1] = c.PSSH[1][:50]
	tag := KeyTag{Method: MethodSampleAES, Line: 7, KeyFormat: formatPlayReady, URI: "data:;base64," + std(objectOf(headerOf("u", a)))}
	_, _, err := RekeyKeyTag(&tag, key.Changes{a: c})
	_, kept := OldDRMData(&tag, key.Changes{a: c})
	for _, err := range []error{err, kept} {
		var e *Error
		if !errors.Is(err, ErrReplacement) || !errors.As(err, &e) || e.Line != 7 {
			t.Errorf("error %v, want ErrReplacement with its line", err)
		}
	}
	for _, tag := range []KeyTag{{Method: MethodAES128, URI: "k"}, {Method: MethodSampleAES, URI: "skd://a"}} {
		if why, err := OldDRMData(&tag, key.Changes{a: c}); why != "" || err != nil {
			t.Errorf("a tag without data: %q, %v", why, err)
		}
	}
}
