package dash

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

func psshOf(system [16]byte, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(32+len(data)))
	b = append(append(b, "pssh\x00\x00\x00\x00"...), system[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// widevineOf is a box as a key service makes it, with a content id.
func widevineOf(kid key.KID) []byte {
	data := append([]byte{0x12, 16}, kid[:]...)
	return psshOf(pssh.Widevine, append(data, "\x22\x1fa content id of the key service"...))
}

// objectOf is a PlayReady object with one header for some KIDs.
func objectOf(kids ...key.KID) []byte {
	var list strings.Builder
	for _, kid := range kids {
		g := kid.GUID()
		list.WriteString(`<KID ALGID="AESCTR" VALUE="` + base64.StdEncoding.EncodeToString(g[:]) + `"></KID>`)
	}
	var header []byte
	for _, u := range utf16.Encode([]rune(`<WRMHEADER version="4.2.0.0"><DATA><PROTECTINFO><KIDS>` + list.String() + `</KIDS></PROTECTINFO><LA_URL>https://l.example/</LA_URL></DATA></WRMHEADER>`)) {
		header = binary.LittleEndian.AppendUint16(header, u)
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(10+len(header)))
	b = append(b, 1, 0, 1, 0)
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(header))), header...)
}

func served(old, now key.KID) key.Change {
	return key.Change{Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: now,
		PSSH: [][]byte{widevineOf(now), psshOf(pssh.PlayReady, objectOf(now))}}
}

var std = base64.StdEncoding.EncodeToString

// TestNewDRMDataInLibrary: the library's MPDs get the service's data. Every byte
// outside default_KID, cenc:pssh and mspr:pro stays.
func TestNewDRMDataInLibrary(t *testing.T) {
	changes := key.Changes{}
	for line := range strings.Lines(string(fixtures.Keys())) {
		id, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		kid, err := key.ParseKID(id)
		if err != nil {
			t.Fatal(err)
		}
		changes[kid] = served(kid, key.NewKID())
	}
	replaced := 0
	for name, b := range library(t) {
		m := mustParse(t, string(b))
		out, err := m.Edit(Edits{Changes: changes})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if why, err := m.OldDRMData(changes); err != nil || len(why) > 0 {
			t.Errorf("%s: %q, %v", name, why, err)
		}
		q := mustParse(t, string(out))
		if got, want := skeleton(out, q), skeleton(b, m); got != want {
			t.Errorf("%s: became\n%s\nwant\n%s", name, got, want)
		}
		for i, r := range q.Representations {
			kid := m.Representations[i].DefaultKIDs[0]
			var first []byte
			for _, box := range r.PSSH {
				kids, err := pssh.KIDs(box)
				if err != nil || slices.ContainsFunc(kids, func(k key.KID) bool { _, goes := changes[k]; return goes }) {
					t.Errorf("%s: a box names %v, %v", name, kids, err)
				}
				if p, err := pssh.Parse(box); err == nil && p.System == pssh.Widevine && first == nil {
					first = box
				}
			}
			if first != nil {
				replaced++
				if !bytes.Equal(first, changes[kid].PSSH[0]) {
					t.Errorf("%s: the first Widevine box is not that of default_KID", name)
				}
			}
			for _, object := range r.PRO {
				if !bytes.Equal(object, objectOf(changes[kid].NewKID)) {
					t.Errorf("%s: another PlayReady object", name)
				}
			}
		}
	}
	if replaced == 0 {
		t.Fatal("no Widevine box in the library")
	}
}

// skeleton is an MPD without its protection data and default_KIDs; elements of the
// same name that follow one another count once.
func skeleton(b []byte, m *MPD) string {
	text := string(b)
	for _, p := range m.protections {
		if p.defaultKID != nil {
			text = strings.ReplaceAll(text, p.defaultKID.value, "KID")
		}
		for _, d := range p.data {
			text = strings.ReplaceAll(text, std(d.data), "DATA")
		}
	}
	const element = "<cenc:pssh>DATA</cenc:pssh>"
	for _, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) == element {
			text = strings.ReplaceAll(text, line+"\n"+line+"\n", line+"\n")
		}
	}
	return text
}

func TestNewDRMDataSpellings(t *testing.T) {
	old, now, two, also, stays := key.KID{0xab, 1: 1}, key.KID{0xcd, 1: 2}, key.KID{0xab, 1: 3}, key.KID{0xcd, 1: 4}, key.KID{7}
	changes := key.Changes{old: served(old, now), two: served(two, also)}
	w := func(kids ...key.KID) string {
		var data []byte
		for _, kid := range kids {
			data = append(append(data, 0x12, 16), kid[:]...)
		}
		return std(psshOf(pssh.Widevine, data))
	}
	wn, wa := std(changes[old].PSSH[0]), std(changes[two].PSSH[0])
	split := func(s string) string { return s[:10] + "\n " + s[10:] }
	for name, tc := range map[string]struct{ body, want, kept string }{
		"one":       {`<cenc:pssh>` + w(old) + `</cenc:pssh>`, `<cenc:pssh>` + wn + `</cenc:pssh>`, ""},
		"blanks":    {"<cenc:pssh>\r\n " + split(w(old)) + "\n</cenc:pssh>", "<cenc:pssh>\r\n " + wn + "\n</cenc:pssh>", ""},
		"CDATA":     {`<cenc:pssh> <![CDATA[` + w(old) + `]]> <!-- x --></cenc:pssh>`, `<cenc:pssh> <![CDATA[` + wn + `]]> <!-- x --></cenc:pssh>`, ""},
		"pieces":    {`<cenc:pssh>` + w(old)[:9] + `<!-- x -->` + w(old)[9:] + `</cenc:pssh>`, `<cenc:pssh>` + wn + `<!-- x --></cenc:pssh>`, ""},
		"entities":  {`<cenc:pssh>&#x41;` + w(old)[1:] + `</cenc:pssh>`, `<cenc:pssh>` + wn + `</cenc:pssh>`, ""},
		"two":       {"\n <c:pssh xmlns:c=\"urn:mpeg:cenc:2013\" a='>'>" + w(old, two) + "</c:pssh >\n", "\n <c:pssh xmlns:c=\"urn:mpeg:cenc:2013\" a='>'>" + wn + "</c:pssh >\n <c:pssh xmlns:c=\"urn:mpeg:cenc:2013\" a='>'>" + wa + "</c:pssh >\n", ""},
		"one stays": {`<cenc:pssh>` + w(old, stays) + `</cenc:pssh>`, `<cenc:pssh>` + wn + `</cenc:pssh><cenc:pssh>` + w(now, stays) + `</cenc:pssh>`, ""},
		"pro":       {`<mspr:pro> ` + std(objectOf(old)) + `</mspr:pro>`, `<mspr:pro> ` + std(objectOf(now)) + `</mspr:pro>`, ""},
		"pro two":   {`<mspr:pro>` + std(objectOf(two, old)) + `</mspr:pro>`, `<mspr:pro>` + std(objectOf(also, now)) + `</mspr:pro>`, "line 3: pro: 2 new PlayReady objects"},
		"same":      {"<cenc:pssh>" + split(std(widevineOf(old))) + "</cenc:pssh>", "<cenc:pssh>" + split(wn) + "</cenc:pssh>", ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := document(`<ContentProtection>` + tc.body + `</ContentProtection><SegmentTemplate media="a"/><Representation id="r"/>`)
			m := mustParse(t, text)
			out, err := m.Edit(Edits{Changes: changes})
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Replace(text, tc.body, tc.want, 1); string(out) != want {
				t.Errorf("edited to\n%s\nwant\n%s", out, want)
			}
			why, err := m.OldDRMData(changes)
			if err != nil || (len(why) > 0) != (tc.kept != "") || len(why) > 0 && !strings.HasPrefix(why[0], tc.kept) {
				t.Errorf("kept %q, %v; want %q", why, err, tc.kept)
			}
		})
	}
}

// TestNewDRMDataForOpaqueData: data that names no KID is for the default_KID of its
// element, or of those beside it.
func TestNewDRMDataForOpaqueData(t *testing.T) {
	old, now := key.KID{0xab, 1: 1}, key.KID{0xcd, 1: 2}
	changes := key.Changes{old: served(old, now)}
	opaque := `<cenc:pssh>` + std(psshOf(pssh.Widevine, []byte("\x22\x05movie"))) + `</cenc:pssh>`
	fresh := `<cenc:pssh>` + std(changes[old].PSSH[0]) + `</cenc:pssh>`
	kid := func(k key.KID) string { return ` cenc:default_KID="` + k.UUID() + `"` }
	for name, tc := range map[string]struct{ body, want string }{
		"its own":    {`<ContentProtection` + kid(old) + `>` + opaque, `<ContentProtection` + kid(now) + `>` + fresh},
		"beside it":  {`<ContentProtection` + kid(old) + `/><ContentProtection>` + opaque, `<ContentProtection` + kid(now) + `/><ContentProtection>` + fresh},
		"other key":  {`<ContentProtection` + kid(key.KID{9}) + `>` + opaque, `<ContentProtection` + kid(key.KID{9}) + `>` + opaque},
		"not known":  {`<ContentProtection>` + opaque, `<ContentProtection>` + opaque},
		"one of two": {`<ContentProtection` + kid(old) + `/><ContentProtection` + kid(key.KID{9}) + `/><ContentProtection>` + opaque, `<ContentProtection` + kid(now) + `/><ContentProtection` + kid(key.KID{9}) + `/><ContentProtection>` + opaque},
	} {
		text := document(tc.body + `</ContentProtection><SegmentTemplate media="a"/><Representation id="r"/>`)
		out, err := mustParse(t, text).Edit(Edits{Changes: changes})
		if want := strings.Replace(text, tc.body, tc.want, 1); err != nil || string(out) != want {
			t.Errorf("%s: edited to\n%s\nwant\n%s (%v)", name, out, want, err)
		}
	}
}

func TestUnusableDRMData(t *testing.T) {
	old := key.KID{1}
	changes := key.Changes{old: served(old, key.KID{2})}
	changes[old].PSSH[0] = widevineOf(key.KID{3})
	for _, body := range []string{`<cenc:pssh>` + std(widevineOf(old)) + `</cenc:pssh>`, `<mspr:pro>` + std(objectOf(old)) + `</mspr:pro>`} {
		m := mustParse(t, document(`<ContentProtection>`+body+`</ContentProtection><SegmentTemplate media="a"/><Representation id="r"/>`))
		_, err := m.Edit(Edits{Changes: changes})
		wantError(t, err)
		if _, kept := m.OldDRMData(changes); !errors.Is(err, ErrReplacement) || !errors.Is(kept, ErrReplacement) {
			t.Errorf("errors %v and %v, want ErrReplacement", err, kept)
		}
	}
}

// FuzzNewDRMData: an MPD whose keys change with new data is refused, or names the
// new keys and none that went.
func FuzzNewDRMData(f *testing.F) {
	for _, b := range library(f) {
		f.Add(b)
	}
	old := key.KID{0xab}
	w, o := std(widevineOf(old)), std(objectOf(old, key.KID{9}))
	for _, s := range []string{
		`<cenc:pssh> ` + w[:7] + `<!-- -->` + w[7:] + ` </cenc:pssh>`, `<mspr:pro><![CDATA[` + o + `]]></mspr:pro>`, `<cenc:pssh>&#x41;` + w[1:] + `</cenc:pssh>`,
	} {
		f.Add([]byte(document(`<ContentProtection>` + s + `</ContentProtection><SegmentTemplate media="m"/><Representation/>`)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse("m", b)
		if err != nil {
			return
		}
		changes := key.Changes{}
		for i, kid := range m.KIDs() {
			if !kid.IsZero() {
				changes[kid] = served(kid, key.KID{0xee, byte(i), byte(i >> 8), 1})
			}
		}
		out, err := m.Edit(Edits{Changes: changes})
		if err != nil {
			wantError(t, err)
			return
		}
		q, err := Parse("m", out)
		if err != nil || q.Unsupported() != nil && len(changes) > 0 {
			t.Fatalf("%v: edited to %q", err, out)
		}
		for _, kid := range q.KIDs() {
			if _, goes := changes[kid]; goes {
				t.Errorf("KID %s is still there: edited to %q", kid, out)
			}
		}
	})
}
