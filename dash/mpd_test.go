package dash

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
)

// library returns the MPDs of the fixtures; none is a failure.
func library(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, tree := range []fs.FS{fixtures.Library(), fixtures.More()} {
		names, err := fs.Glob(tree, "*/*.mpd")
		if err != nil || len(names) == 0 {
			t.Fatalf("glob: %d files, err %v", len(names), err)
		}
		for _, name := range names {
			b, err := fs.ReadFile(tree, name)
			if err != nil {
				t.Fatal(err)
			}
			files[name] = b
		}
	}
	return files
}

func mustParse(t testing.TB, text string) *MPD {
	t.Helper()
	m, err := Parse("m.mpd", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// document is an MPD around body: an AdaptationSet's content.
func document(body string) string {
	return `<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" xmlns:cenc="urn:mpeg:cenc:2013" xmlns:mspr="urn:microsoft:playready" mediaPresentationDuration="PT10S">
 <Period>
  <AdaptationSet mimeType="video/mp4" contentType="video" codecs="avc1.64001E">` + body + `</AdaptationSet>
 </Period>
</MPD>
`
}

// TestLibraryReachesEveryObject: the names that an MPD expands to are those of
// the objects that the packager wrote.
func TestLibraryReachesEveryObject(t *testing.T) {
	names, err := fs.Glob(fixtures.Library(), "*/*.mpd")
	if err != nil || len(names) == 0 {
		t.Fatalf("glob: %d files, err %v", len(names), err)
	}
	for _, name := range names {
		m := mustParse(t, string(library(t)[name]))
		if err := m.Unsupported(); err != nil || !m.Static {
			t.Errorf("%s: static %v, %v", name, m.Static, err)
		}
		var got []string
		for _, r := range m.Representations {
			got = append(append(got, r.Init), r.Media...)
			if len(r.DefaultKIDs) != 1 || len(r.PSSH) != 3 || len(r.PRO) != 1 {
				t.Errorf("%s: Representation %s has %d KIDs, %d pssh, %d pro", name, r.ID, len(r.DefaultKIDs), len(r.PSSH), len(r.PRO))
			}
		}
		var want []string
		for _, pattern := range []string{"*/*.m4s", "*/*.mp4"} {
			files, err := fs.Glob(fixtures.Library(), path.Join(path.Dir(name), pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("glob %s: %d files, err %v", pattern, len(files), err)
			}
			for _, f := range files {
				want = append(want, strings.TrimPrefix(f, path.Dir(name)+"/"))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s leads to\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestInheritance(t *testing.T) {
	m := mustParse(t, `<?xml version='1.0'?>
<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'>
 <BaseURL>top/x.mpd?token=1</BaseURL>
 <Period duration='PT4S'>
  <BaseURL>p1/</BaseURL>
  <SegmentTemplate timescale='10' media='$RepresentationID$/$Number%03d$.m4s' startNumber='7'/>
  <AdaptationSet mimeType='video/mp4'>
   <SegmentTemplate initialization='$RepresentationID$/i&amp;$Bandwidth$.mp4' duration='20'/>
   <Representation id='a' bandwidth='100'><BaseURL>../r/./</BaseURL></Representation>
   <Representation id='b' bandwidth='200' mimeType='video/webm' codecs='vp09'><SegmentTemplate media='$$$Number$'/></Representation>
  </AdaptationSet>
 </Period>
 <Period duration='PT3S'>
  <AdaptationSet>
   <SegmentTemplate timescale='1' presentationTimeOffset='5' media='$Time$.m4s'>
    <SegmentTimeline><S t='5' d='1'/><S d='1' r='-1'/></SegmentTimeline>
   </SegmentTemplate>
   <Representation id='c'/>
  </AdaptationSet>
 </Period>
</MPD>`)
	if err := m.Unsupported(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range m.Representations {
		got = append(got, fmt.Sprintf("%s %d/%d %q %q %q %q", r.ID, r.Period, r.AdaptationSet, r.MimeType, r.Base, r.Init, r.Media))
	}
	want := []string{
		`a 0/0 "video/mp4" "top/r/" "top/r/a/i&100.mp4" ["top/r/a/007.m4s" "top/r/a/008.m4s"]`,
		`b 0/0 "video/webm" "top/p1/" "top/p1/b/i&200.mp4" ["top/p1/$7" "top/p1/$8"]`,
		`c 1/0 "" "top/" "" ["top/5.m4s" "top/6.m4s" "top/7.m4s"]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSegmentCounts(t *testing.T) {
	tests := []struct{ name, template, want string }{
		{"duration", `media="$Number$" duration="3"/>`, "1 2 3 4"},
		{"duration, exact", `media="$Number$" duration="5"/>`, "1 2"},
		{"timescale", `media="$Number$" timescale="48000" duration="240001"/>`, "1 2"},
		{"endNumber", `media="$Number$" duration="3" startNumber="2" endNumber="4"/>`, "2 3 4"},
		{"one segment", `media="only" />`, "only"},
		{"timeline", `media="$Number$-$Time$"><SegmentTimeline><S t="7" d="2" r="1"/><S d="3"/></SegmentTimeline></SegmentTemplate>`, "1-7 2-9 3-11"},
		{"gap", `media="$Time$"><SegmentTimeline><S d="2"/><S t="5" d="3"/></SegmentTimeline></SegmentTemplate>`, "0 5"},
		{"to the next t", `media="$Time$"><SegmentTimeline><S d="2" r="-1"/><S t="5" d="3"/></SegmentTimeline></SegmentTemplate>`, "0 2 4 5"},
		{"to the end", `media="$Time%02d$" timescale="2"><SegmentTimeline><S d="7" r="-1"/></SegmentTimeline></SegmentTemplate>`, "00 07 14"},
		{"offset", `media="$Time$" presentationTimeOffset="100"><SegmentTimeline><S t="100" d="5" r="-1"/></SegmentTimeline></SegmentTemplate>`, "100 105"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := mustParse(t, document(`<SegmentTemplate `+tt.template+`<Representation id="r"/>`))
			if err := m.Unsupported(); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(m.Representations[0].Media, " "); got != tt.want {
				t.Errorf("segments %q, want %q", got, tt.want)
			}
		})
	}
}

func TestUnsupportedByElementAndLine(t *testing.T) {
	const tmpl = `<SegmentTemplate media="$Number$" duration="2"/>`
	tests := []struct{ name, text, want string }{
		{"dynamic", strings.Replace(document(""), "<MPD ", `<MPD type="dynamic" `, 1), `line 1 column 1: not supported: MPD of type "dynamic"`},
		{"xlink", document(`<Representation xmlns:x="http://www.w3.org/1999/xlink" x:href="http://a/b"/>`), "Representation with xlink:href"},
		{"byte range", document(`<BaseURL byteRange="$base$">b/</BaseURL>` + tmpl + `<Representation id="r"/>`), "BaseURL with byteRange"},
		{"Pattern", document(`<SegmentTemplate media="$Number$"><SegmentTimeline><Pattern/></SegmentTimeline></SegmentTemplate><Representation id="r"/>`), "Pattern in a SegmentTimeline"},
		{"SubNumber", document(`<SegmentTemplate media="$Number$-$SubNumber$"/><Representation id="r"/>`), "$SubNumber$"},
		{"Time", document(`<SegmentTemplate media="$Time$" duration="1"/><Representation id="r"/>`), "$Time$ without a SegmentTimeline"},
		{"no media", document(`<SegmentTemplate initialization="i"/><Representation id="r"/>`), "without media"},
		{"no duration", strings.Replace(document(tmpl+`<Representation id="r"/>`), "mediaPresentationDuration", "x", 1), "its Period none"},
		{"repeat without end", strings.Replace(document(`<SegmentTemplate media="$Time$"><SegmentTimeline><S d="1" r="-1"/></SegmentTimeline></SegmentTemplate><Representation id="r"/>`), "mediaPresentationDuration", "x", 1), "repeats to the end"},
		{"absolute by its id", document(`<SegmentTemplate media="$RepresentationID$/$Number$"/><Representation/>`), "makes an absolute reference"},
		{"bitstream switching", document(`<SegmentTemplate media="$Number$" bitstreamSwitching="b"/><Representation id="r"/>`), "SegmentTemplate with bitstreamSwitching"},
		{"index that is media", document(`<SegmentTemplate media="$Number$" duration="1" index="./$Number$"/><Representation id="r"/>`), "index that names the media"},
		{"two init sections", document(`<SegmentTemplate media="$Number$" initialization="i"><Initialization sourceURL="j"/></SegmentTemplate><Representation id="r"/>`), "initialization and Initialization"},
		{"init range", document(`<SegmentTemplate media="$Number$"><Initialization range="0-9"/></SegmentTemplate><Representation id="r"/>`), "Initialization without sourceURL in this SegmentTemplate"},
		{"index of nothing", document(`<SegmentTemplate media="$Number$"><RepresentationIndex range="0-9"/></SegmentTemplate><Representation id="r"/>`), "RepresentationIndex without sourceURL"},
		{"BitstreamSwitching", document(`<SegmentTemplate media="$Number$"><BitstreamSwitching/></SegmentTemplate><Representation id="r"/>`), "BitstreamSwitching in a SegmentTemplate"},
		{"past endNumber", document(`<SegmentTemplate media="$Number$" endNumber="1"><SegmentTimeline><S d="1" r="1"/></SegmentTimeline></SegmentTemplate><Representation id="r"/>`), "more segments than up to endNumber"},
		{"duration in timeline", document(`<SegmentTemplate media="$Number$"><SegmentTimeline><S d="1"/></SegmentTimeline></SegmentTemplate><Representation id="r"><SegmentTemplate duration="1"/></Representation>`), "a SegmentTimeline outside it"},
		{"ImportedMPD", document(`</AdaptationSet></Period><Period><ImportedMPD>x.mpd</ImportedMPD><AdaptationSet>`), "element ImportedMPD"},
		{"BaseURL of no server", document(`<BaseURL>data:x</BaseURL>` + tmpl + `<Representation id="r"/>`), "no server"},
		{"other edition", document(`<Representation xmlns="urn:mpeg:DASH:schema:MPD:2011" id="r"/>`), "Representation in another namespace of the MPD"},
		{"other root", `<MPD xmlns="urn:other"/>`, `namespace "urn:other"`},
		{"lost Representation", document(`</AdaptationSet><Representation id="r"/><AdaptationSet>`), "Representation that is no child of a AdaptationSet"},
		{"lost KID", document(`<Representation cenc:default_KID="a0000000-0000-4000-8000-000000000001"><BaseURL>a</BaseURL></Representation>`), "default_KID of a Representation"},
		{"lost pssh", document(`<cenc:pssh>AAAA</cenc:pssh>`), "pssh outside a ContentProtection"},
		{"nested protection", document(`<ContentProtection><ContentProtection/></ContentProtection>`), "ContentProtection in a ContentProtection"},
		{"init set of none", strings.Replace(document(tmpl+`<Representation id="r"/>`), "<Period>", `<InitializationSet id="1" initialization="i"/><Period>`, 1), "that of no Representation"},
		{"init set, several", strings.Replace(document(tmpl+`<Representation id="r"/>`), "<Period>", `<BaseURL/><BaseURL>x/</BaseURL><InitializationSet id="1" initialization="i"/><Period>`, 1), "under several BaseURLs"},
		{"ref to none", document(`<ContentProtection ref="a"/>`), "ref to none"},
		{"ref to two", document(`<ContentProtection refId="a"/><ContentProtection refId="a"/><ContentProtection ref="a"/>`), "second ContentProtection with the refId"},
		{"ref to itself", document(`<ContentProtection ref="a" refId="a"/>`), "refers to itself"},
		{"refs in a circle", document(`<ContentProtection ref="a" refId="b"/><ContentProtection ref="b" refId="a"/>`), "refers to itself"},
		{"ref with another scheme", document(`<ContentProtection refId="a" schemeIdUri="x"/><ContentProtection ref="a" schemeIdUri="y"/>`), "schemeIdUri of a ContentProtection is not that"},
		{"ref with another KID", document(`<ContentProtection refId="a" cenc:default_KID="a0000000-0000-4000-8000-000000000001"/><ContentProtection ref="a" cenc:default_KID="a0000000-0000-4000-8000-000000000002"/>`), "default_KID of a ContentProtection is not that"},
		{"KID in base64", document(`<ContentProtection cenc:default_KID="ab000000-0000-4000-8000-0000000000fb"><x>https://l/?k=qwAAAAAAQACAAAAAAAAA-w</x></ContentProtection>`), "line 3 column 155: not supported: x spells a KID"},
		{"KID in byte order", document(`<ContentProtection cenc:default_KID="ab010203-0405-4607-8000-0000000000fb"><x>030201AB0504074680000000000000FB</x></ContentProtection>`), "x spells a KID"},
		{"KID behind percent signs", document(`<ContentProtection cenc:default_KID="ab010203-0405-4607-8000-0000000000fb"><x y="ab010203%2d0405%2d4607%2d8000%2d0000000000fb"/></ContentProtection>`), "y of x spells a KID"},
		{"key in a data URL", document(`<ContentProtection cenc:default_KID="ab000000-0000-4000-8000-0000000000fb"><x>data:application/json;base64,eyJrZXlzIjpbeyJrdHkiOiJvY3QiLCJraWQiOiJxd0FBQUFBQVFBQ0FBQUFBQUFBQS13IiwiayI6IkFBQUEifV19</x></ContentProtection>`), "x spells a KID"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := mustParse(t, tt.text)
			err := m.Unsupported()
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if _, err := m.Edit(Edits{Move: stay}); !errors.Is(err, ErrUnsupported) {
				t.Errorf("edit: error %v, want ErrUnsupported", err)
			}
		})
	}
}

func TestSidecarsStay(t *testing.T) {
	m := mustParse(t, document(`
   <Representation id="t" mimeType="text/vtt"><BaseURL>en.vtt</BaseURL></Representation>
   <Representation id="i" mimeType="image/jpeg"><SegmentTemplate media="t/$Number$.jpg" duration="5"/></Representation>`))
	if err := m.Unsupported(); err != nil {
		t.Fatal(err)
	}
	if r := m.Representations[1]; r.Init != "" || !slices.Equal(r.Media, []string{"t/1.jpg", "t/2.jpg"}) {
		t.Errorf("thumbnails are %+v", r)
	}
}

func TestMalformed(t *testing.T) {
	s := func(attrs, inner string) string {
		return document(`<SegmentTemplate ` + attrs + `>` + inner + `</SegmentTemplate><Representation id="r"/>`)
	}
	tests := []struct {
		name, text string
		class      error
		want       string
	}{
		{"empty", "", ErrMalformed, "no root element"},
		{"root", "<mpd/>", ErrMalformed, "root element is mpd"},
		{"two roots", "<MPD/><MPD/>", ErrMalformed, "second root"},
		{"text outside", "<MPD/>x", ErrMalformed, "text outside"},
		{"open", "<MPD><Period>", ErrMalformed, ""},
		{"crossed", "<MPD><Period></MPD></Period>", ErrMalformed, ""},
		{"twice", `<MPD a="1" a="2"/>`, ErrMalformed, "appears twice"},
		{"unbound prefix", `<MPD x:a="1"/>`, ErrMalformed, "not bound"},
		{"unknown entity", `<MPD a="&lol;"/>`, ErrMalformed, ""},
		{"DOCTYPE", "<!DOCTYPE MPD SYSTEM \"file:///etc/passwd\">\n<MPD/>", ErrUnsupported, "line 1 column 1: not supported: document type declaration"},
		{"billion laughs", "<!DOCTYPE l [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]>\n<MPD>&b;</MPD>", ErrUnsupported, "document type declaration"},
		{"encoding", `<?xml version="1.0" encoding="ISO-8859-1"?><MPD/>`, ErrUnsupported, "only UTF-8 is read"},
		{"UTF-16", "\xff\xfe<\x00M\x00", ErrUnsupported, "line 1 column 1: not supported: MPD in UTF-16: only UTF-8"},
		{"UTF-16 without a mark", "\x00<\x00M", ErrUnsupported, "MPD in UTF-16"},
		{"UTF-32", "\xff\xfe\x00\x00<\x00\x00\x00", ErrUnsupported, "MPD in UTF-32"},
		{"not UTF-8", "<MPD a=\"\xe9\"/>", ErrMalformed, "UTF-8"},
		{"line and column", "<MPD>\r\n\t<a b='1' b='2'/></MPD>", ErrMalformed, "line 2 column 14: malformed: attribute b appears twice"},
		{"depth", strings.Repeat("<MPD>", MaxDepth+1), ErrLimit, "nested deeper"},
		{"duration", strings.Replace(document(""), "PT10S", "10 s", 1), ErrMalformed, "xs:duration"},
		{"bandwidth", document(`<Representation bandwidth="x"/>`), ErrMalformed, "bandwidth"},
		{"timescale", s(`media="$Number$" timescale="0" duration="1"`, ""), ErrMalformed, "timescale"},
		{"template end", s(`media="$Number"`, ""), ErrMalformed, "$ without an end"},
		{"template name", s(`media="$Nummer$"`, ""), ErrMalformed, "unknown identifier"},
		{"template format", s(`media="$Number%x$"`, ""), ErrMalformed, "format tag"},
		{"template width", s(`media="$Number%0999d$"`, ""), ErrMalformed, "format tag"},
		{"id format", s(`media="$RepresentationID%02d$"`, ""), ErrMalformed, "format tag"},
		{"number in initialization", s(`media="a" initialization="$Number$"`, ""), ErrMalformed, "segment's identifier"},
		{"S without d", s(`media="$Time$"`, `<SegmentTimeline><S t="1"/></SegmentTimeline>`), ErrMalformed, "without a duration"},
		{"S r", s(`media="$Time$"`, `<SegmentTimeline><S d="1" r="x"/></SegmentTimeline>`), ErrMalformed, "r of S"},
		{"S past", s(`media="$Time$"`, `<SegmentTimeline><S t="50" d="1" r="-1"/></SegmentTimeline>`), ErrMalformed, "past"},
		{"S overflow", s(`media="$Time$"`, `<SegmentTimeline><S t="9223372036854775807" d="1"/></SegmentTimeline>`), ErrMalformed, "overflows"},
		{"too many segments", s(`media="$Time$"`, `<SegmentTimeline><S d="1" r="4294967295"/></SegmentTimeline>`), ErrLimit, "segments"},
		{"too many by duration", s(`media="$Number$" timescale="1000000000" duration="1"`, ""), ErrLimit, "segments"},
		{"endNumber", s(`media="$Number$" startNumber="2" endNumber="1"`, ""), ErrMalformed, "endNumber comes before"},
		{"S@n back", s(`media="$Number$"`, `<SegmentTimeline><S n="4" d="1" r="2"/><S n="6" d="1"/></SegmentTimeline>`), ErrMalformed, "S counts from 6, where 7 is the next"},
		{"S@k", s(`media="$Number$"`, `<SegmentTimeline><S k="0" d="1"/></SegmentTimeline>`), ErrMalformed, "k of S"},
		{"second template", document(`<SegmentTemplate/><SegmentTemplate/>`), ErrMalformed, "second segment information"},
		{"default_KID", document(`<ContentProtection cenc:default_KID="12"/>`), ErrMalformed, "default_KID"},
		{"two default_KIDs", document(`<ContentProtection cenc:default_KID="" default_KID=""/>`), ErrMalformed, "two default_KID"},
		{"pssh", document(`<ContentProtection><cenc:pssh>!</cenc:pssh></ContentProtection>`), ErrMalformed, "not base64"},
		{"kid", document(`<ContentProtection><mspr:kid>AAAA</mspr:kid></ContentProtection>`), ErrMalformed, "kid has 3 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("m.mpd", []byte(tt.text))
			var e *Error
			if !errors.Is(err, tt.class) || !errors.As(err, &e) || e.Object != "m.mpd" || e.Line < 1 || e.Column < 1 {
				t.Fatalf("error %v, want an *Error of class %v", err, tt.class)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want %q", err, tt.want)
			}
		})
	}
}

// TestLimits: small MPDs that would expand to much, and large ones.
func TestLimits(t *testing.T) {
	many := func(n int, s string) string { return strings.Repeat(s, n) }
	const timeline = `<SegmentTemplate media="$Time$"><SegmentTimeline>%s</SegmentTimeline></SegmentTemplate>`
	for name, text := range map[string]string{
		"bytes":    many(MaxBytes+1, " "),
		"elements": "<MPD>" + many(MaxElements, "<a/>"),
		"attributes": "<MPD " + func() (s string) {
			var b strings.Builder
			for i := range MaxAttributes + 1 {
				fmt.Fprintf(&b, "a%d='' ", i)
			}
			return b.String()
		}() + "/>",
		"representations":  document(many(MaxRepresentations+1, "<Representation mimeType='text/vtt'/>")),
		"shared timeline":  document(fmt.Sprintf(timeline, many(200_000, `<S d="1"/>`)) + many(9000, "<Representation/>")),
		"foreign elements": document(fmt.Sprintf(timeline, many(300_000, `<x/>`)+`<S d="1"/>`) + many(9000, "<Representation/>")),
		"bases":            document(many(MaxBases+1, "<BaseURL>a/</BaseURL>")),
		"nested bases":     document(many(9, "<BaseURL>a/</BaseURL>") + "<Representation>" + many(9, "<BaseURL>a/</BaseURL>") + "</Representation>"),
		"KIDs":             document("<ContentProtection cenc:default_KID='" + many(MaxProtections+1, key.NewKID().String()+" ") + "'/>"),
		"data":             document("<ContentProtection>" + many(MaxProtections+1, "<cenc:pssh>AAAA</cenc:pssh>") + "</ContentProtection>"),
		"shared data":      document("<ContentProtection refId='a'>" + many(MaxProtections, "<cenc:pssh>AAAA</cenc:pssh>") + "</ContentProtection>" + many(MaxProtections-1, "<ContentProtection ref='a'/>") + many(1000, "<Representation mimeType='text/vtt'/>")),
		"protections":      document(many(MaxProtections+1, "<ContentProtection/>")),
		"base":             document("<BaseURL>" + many(MaxReference, "a") + "/</BaseURL>"),
		"template":         document(`<SegmentTemplate media="` + many(MaxReference+1, "a") + `"/><Representation/>`),
		"names":            document(`<SegmentTemplate duration="1" timescale="90000" media="$Number$` + many(MaxReference-100, "a") + `"/><Representation/>`),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse("m", []byte(text)); !errors.Is(err, ErrLimit) {
				t.Errorf("error %v, want ErrLimit", err)
			}
		})
	}
}
