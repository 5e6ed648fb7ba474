package judge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const oldList = "#EXTM3U\r\n" +
	"#EXT-X-KEY:METHOD=AES-128,URI=\"../k.bin\",IV=0x000102030405060708090a0b0c0d0e0f,KEYID=0x01 \r\n" +
	"#EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"10@0\"\r\n" +
	"#EXTINF:4.0,title, with URI=\"x\"\r\n" +
	"#EXT-X-BYTERANGE:100@0\r\n" +
	"a%20b.ts?q=1 \r\n" +
	"# a comment\r\n" +
	"#EXT-X-ENDLIST"

// rotated is what a rotation of the entry v/list.m3u8 may make of oldList.
var rotated = [][2]string{
	{`URI="../k.bin"`, `URI="../_rekey/r2/k.bin"`},
	{"KEYID=0x01", "KEYID=0x02"},
	{`"init.mp4"`, `"../_rekey/r2/v/init.mp4"`},
	{"100@0", "188@0"},
	{"a%20b.ts", "../_rekey/r2/v/a%20b.ts"},
}

func edited(t *testing.T, text string, edits ...[2]string) string {
	t.Helper()
	for _, e := range edits {
		if strings.Count(text, e[0]) != 1 {
			t.Fatalf("%q is not once in %q", e[0], text)
		}
		text = strings.Replace(text, e[0], e[1], 1)
	}
	return text
}

func parsed(t *testing.T, text string) *playlist {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "v"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "v", "list.m3u8"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := readPlaylist(root, "v/list.m3u8", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDiffOfARotatedPlaylist(t *testing.T) {
	old, after := parsed(t, oldList), parsed(t, edited(t, oldList, rotated...))
	c, bad := diffPlaylists(old, after)
	if len(bad) > 0 || c != (Changes{Keys: 1, URIs: 2, Ranges: 1}) {
		t.Errorf("changes %+v, differences %v", c, bad)
	}
	if p := after.pieces[1]; p.key != "_rekey/r2/k.bin" || p.object != "_rekey/r2/v/a b.ts" || p.length != 188 || Logical(p.object) != "v/a b.ts" {
		t.Errorf("read as %+v", p)
	}
}

// TestDiffFindsOtherChanges: a rotated playlist in which one more thing changed.
func TestDiffFindsOtherChanges(t *testing.T) {
	after := edited(t, oldList, rotated...)
	for _, tt := range []struct {
		name string
		line int
		edit [2]string
	}{
		{"another IV", 2, [2]string{"0d0e0f", "0d0e10"}},
		{"an attribute more", 2, [2]string{"KEYID=0x02", "KEYID=0x02,KEYFORMATVERSIONS=\"1\""}},
		{"another method", 2, [2]string{"METHOD=AES-128", "METHOD=SAMPLE-AES"}},
		{"attributes in another order", 2, [2]string{"METHOD=AES-128,URI=\"../_rekey/r2/k.bin\"", "URI=\"../_rekey/r2/k.bin\",METHOD=AES-128"}},
		{"quotes gone", 2, [2]string{"\"../_rekey/r2/k.bin\"", "../_rekey/r2/k.bin"}},
		{"a blank gone", 2, [2]string{"KEYID=0x02 ", "KEYID=0x02"}},
		{"another init section", 3, [2]string{"v/init.mp4", "v/other.mp4"}},
		{"another duration", 4, [2]string{"4.0", "4.1"}},
		{"a title", 4, [2]string{"title", "Title"}},
		{"a line end", 4, [2]string{"URI=\"x\"\r\n", "URI=\"x\"\n"}},
		{"another segment", 6, [2]string{"a%20b.ts", "a%20c.ts"}},
		{"a segment of another folder", 6, [2]string{"../_rekey/r2/v/a", "../_rekey/r2/w/a"}},
		{"a query", 6, [2]string{"?q=1", "?q=2"}},
		{"a query gone", 6, [2]string{"?q=1", ""}},
		{"a comment", 7, [2]string{"a comment", "no comment"}},
		{"a line more", 1, [2]string{"# a comment", "#EXT-X-DISCONTINUITY\r\n# a comment"}},
		{"a line less", 1, [2]string{"# a comment\r\n", ""}},
		{"an end of line at the end", 1, [2]string{"#EXT-X-ENDLIST", "#EXT-X-ENDLIST\n"}},
	} {
		_, bad := diffPlaylists(parsed(t, oldList), parsed(t, edited(t, after, tt.edit)))
		if len(bad) != 1 || bad[0].Line != tt.line {
			t.Errorf("%s: differences %v, want one of line %d", tt.name, bad, tt.line)
		}
	}
}

const oldMPD = `<?xml version="1.0"?>
<!-- media="x" --><MPD xmlns:cenc="urn:mpeg:cenc:2013" type='static'>
 <BaseURL>v/</BaseURL><Period duration="PT4S">
  <ContentProtection value="cenc" cenc:default_KID='01'/><cenc:pssh>AAA</cenc:pssh>
  <SegmentTemplate initialization="i.mp4" media = "s-$Number$.m4s" startNumber="1"/>
  <Title>pssh &amp; media</Title>
 </Period></MPD>
`

func TestDiffOfMPDs(t *testing.T) {
	after := edited(t, oldMPD, [2]string{"<BaseURL>v/", "<BaseURL>_rekey/r/v/"}, [2]string{"KID='01'", "KID='02'"},
		[2]string{"AAA", "BBB"}, [2]string{`"i.mp4"`, `"j.mp4"`}, [2]string{`"s-$`, `"t-$`})
	c, bad, err := DiffMPD([]byte(oldMPD), []byte(after))
	if err != nil || len(bad) > 0 || c != (Changes{Keys: 2, URIs: 3}) {
		t.Errorf("changes %+v, differences %v, error %v", c, bad, err)
	}
	for _, e := range [][2]string{
		{`startNumber="1"`, `startNumber="2"`},
		{`value="cenc"`, `value="cbcs"`},
		{"KID='02'", `KID="02" x="1"`},
		{"media =", "media="},
		{"type='static'", `type="static"`},
		{`media="x"`, `media="y"`},
		{"&amp;", "and"},
		{"<Title>", "<title>"},
		{"</Period>", "\n</Period>"},
		{"<Period duration", "<BaseURL>x</BaseURL><Period duration"},
		{" startNumber", "  startNumber"},
	} {
		if _, bad, err := DiffMPD([]byte(oldMPD), []byte(edited(t, after, e))); len(bad) != 1 && err == nil {
			t.Errorf("%q for %q: differences %v, error %v", e[1], e[0], bad, err)
		}
	}
}
