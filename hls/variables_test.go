package hls

import (
	"errors"
	"strings"
	"testing"
)

const define = "#EXT-X-DEFINE:"

func TestVariablesOfTheParent(t *testing.T) {
	master := mustParse(t, "#EXTM3U\n"+define+"NAME=\"a\",VALUE=\"x\"\n"+define+"NAME=\"b\",VALUE=\"{$a}{$a}\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{$b}.m3u8?t={$a}\n")
	if r := master.Refs[0]; r.URI != "{$b}.m3u8?t={$a}" || r.Target != "xx.m3u8?t=x" || master.Contextual() {
		t.Errorf("%+v, contextual %v", r, master.Contextual())
	}
	const media = "#EXTM3U\n" + define + "IMPORT=\"b\"\n" + define + "QUERYPARAM=\"t\"\n#EXTINF:1,\n{$b}/{$t}.ts\n#EXT-X-ENDLIST\n"
	p, err := ParseWith("p", []byte(media), Context{Imported: master.Variables(), Query: "t=x"})
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Segments[0]; s.URI != "xx/x.ts" || !p.Contextual() || p.Unsupported() != nil {
		t.Errorf("%+v, %v", s, p.Unsupported())
	}
	vars := p.Variables()
	vars["b"] = "changed"
	if p.Variables()["b"] != "xx" {
		t.Error("Variables hands out its own map")
	}
	if _, err := Parse("p", []byte(media)); !errors.Is(err, ErrMalformed) {
		t.Errorf("without its parent: %v", err)
	}
}

// TestValuesOfThePlayer: a query that is not known stays a variable, in queries
// alone.
func TestValuesOfThePlayer(t *testing.T) {
	any := Context{AnyQuery: true}
	const master = "#EXTM3U\n" + define + "QUERYPARAM=\"token\"\n" + define + "NAME=\"q\",VALUE=\"t={$token}&x=1\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8?{$q}\n"
	p, err := ParseWith("p", []byte(master), any)
	if err != nil || p.Unsupported() != nil {
		t.Fatal(err, p.Unsupported())
	}
	if got := p.Refs[0].Target; got != "v.m3u8?t={$token}&x=1" {
		t.Fatalf("target %q", got)
	}
	const media = "#EXTM3U\n" + define + "IMPORT=\"q\"\n" + define + "QUERYPARAM=\"t\"\n#EXTINF:1,\na.ts?{$q}&u={$t}\n#EXT-X-ENDLIST\n"
	c, err := ParseWith("c", []byte(media), Context{Imported: p.Variables(), Query: "t={$token}&x=1"})
	if err != nil || c.Unsupported() != nil {
		t.Fatal(err, c.Unsupported())
	}
	if got := c.Segments[0].URI; got != "a.ts?{$q}&u={$t}" {
		t.Errorf("target %q", got)
	}
	out, err := p.Edit(func(r Ref) (Replacement, error) { return Replacement{URI: "_rekey/" + r.URI}, nil })
	if want := strings.Replace(master, "v.m3u8", "_rekey/v.m3u8", 1); err != nil || string(out) != want {
		t.Errorf("edited to %q, %v", out, err)
	}
	out, err = p.Edit(func(r Ref) (Replacement, error) { return Replacement{URI: "_rekey/" + r.Target}, nil })
	if err != nil || !strings.Contains(string(out), "\n_rekey/v.m3u8?t={$token}&x=1\n") {
		t.Errorf("edited to %q, %v", out, err)
	}
	for _, text := range []string{
		"#EXT-X-MEDIA:TYPE=AUDIO,URI=\"{$token}/a.m3u8\"",
		"#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=\"skd://k\",KEYFORMAT=\"{$token}\"",
		"#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=\"{$token}\"",
	} {
		p, err := ParseWith("p", []byte(master+text+"\n"), any)
		if err != nil || !errors.Is(p.Unsupported(), ErrUnsupported) || !strings.Contains(p.Unsupported().Error(), "only the player knows") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestMalformedVariables(t *testing.T) {
	const end = "#EXT-X-ENDLIST\n"
	tests := []struct{ name, text, want string }{
		{"nothing", define + "VALUE=\"x\"\n", "line 2, column 1: malformed: EXT-X-DEFINE has no NAME"},
		{"no value", define + "NAME=\"a\"\n", "line 2, column 21: malformed: EXT-X-DEFINE has a NAME and no quoted VALUE"},
		{"bare value", define + "NAME=\"a\",VALUE=1\n", "no quoted VALUE"},
		{"two kinds", define + "NAME=\"a\",VALUE=\"b\",IMPORT=\"cdn\"\n", "EXT-X-DEFINE has NAME and IMPORT"},
		{"bare name", define + "NAME=a,VALUE=\"b\"\n", "NAME is not a quoted variable name"},
		{"bad name", define + "NAME=\"a b\",VALUE=\"b\"\n", "NAME is not a quoted variable name"},
		{"empty name", define + "NAME=\"\",VALUE=\"b\"\n", "NAME is not a quoted variable name"},
		{"twice", define + "NAME=\"a\",VALUE=\"b\"\n" + define + "NAME=\"a\",VALUE=\"b\"\n", "line 3, column 21: malformed: variable a is defined twice"},
		{"twice by import", define + "NAME=\"cdn\",VALUE=\"b\"\n" + define + "IMPORT=\"cdn\"\n", "variable cdn is defined twice"},
		{"no import", define + "IMPORT=\"nope\"\n", "no multivariant playlist defines the variable nope"},
		{"import above", define + "IMPORT=\"cdn\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n", "multivariant playlist has an EXT-X-DEFINE:IMPORT in line 2"},
		{"no parameter", define + "QUERYPARAM=\"nope\"\n", "has no query parameter nope"},
		{"empty parameter", define + "QUERYPARAM=\"void\"\n", "query parameter void has no value"},
		{"bare parameter", define + "QUERYPARAM=\"bare\"\n", "query parameter bare has no value"},
		{"control parameter", define + "QUERYPARAM=\"ctl\"\n", "query parameter ctl has no value that is text"},
		{"bad percent", define + "QUERYPARAM=\"bad\"\n", "query parameter bad has no value that is text"},
		{"undefined", "#EXTINF:1,\na/{$x}.ts\n", "line 3, column 3: malformed: variable {$x} is not defined before this line"},
		{"defined later", "#EXTINF:1,\n{$x}.ts\n" + define + "NAME=\"x\",VALUE=\"b\"\n", "not defined before this line"},
		{"itself", define + "NAME=\"x\",VALUE=\"{$x}\"\n", "not defined before this line"},
		{"in an attribute", "#EXT-X-MAP:URI=\"a{$x}\"\n", "line 2, column 18: malformed: variable {$x}"},
		{"in an IV", "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x{$x}\n", "variable {$x}"},
		{"in an attribute of no use", "#EXT-X-DATERANGE:ID=\"{$x}\"\n", "variable {$x}"},
		{"short IV", define + "NAME=\"x\",VALUE=\"00\"\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x{$x}\n", "IV is not 0x and 32 hex digits"},
		{"nothing left", define + "NAME=\"x\",VALUE=\"\"\n#EXTINF:1,\n{$x}\n", "line 4, column 1: malformed: URI is empty"},
		{"nothing left in an attribute", define + "NAME=\"x\",VALUE=\"\"\n#EXT-X-MAP:URI=\"{$x}\"\n", "is empty"},
	}
	in := Context{Imported: Variables{"cdn": "x"}, Query: "void=&bare&ctl=%0a&bad=%zz"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Contains(tt.text, "STREAM-INF") {
				tt.text = "#EXTM3U\n" + tt.text
			} else {
				tt.text = "#EXTM3U\n" + tt.text + end
			}
			_, err := ParseWith("p", []byte(tt.text), in)
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAmbiguousParameters(t *testing.T) {
	text := []byte("#EXTM3U\n" + define + "QUERYPARAM=\"t\"\n#EXTINF:1,\na{$t}\n#EXT-X-ENDLIST\n")
	for _, query := range []string{"t=1&t=2", "t=a+b"} {
		p, err := ParseWith("p", text, Context{Query: query})
		if err != nil || !errors.Is(p.Unsupported(), ErrUnsupported) {
			t.Errorf("%s: %v, %v", query, err, p.Unsupported())
		}
	}
	p, err := ParseWith("p", text, Context{Query: "%74=%7B$x%7D"})
	if err != nil || !errors.Is(p.Unsupported(), ErrUnsupported) {
		t.Errorf("a value that looks like a variable: %v, %v", err, p.Unsupported())
	}
}

// TestVariableBombs: variables made of variables double in each line.
func TestVariableBombs(t *testing.T) {
	var doubling, many, long strings.Builder
	for _, b := range []*strings.Builder{&doubling, &many, &long} {
		b.WriteString("#EXTM3U\n" + define + "NAME=\"a\",VALUE=\"" + strings.Repeat("x", 60_000) + "\"\n")
	}
	name := "a"
	for range 60 {
		next := name + "a"
		doubling.WriteString(define + "NAME=\"" + next + "\",VALUE=\"{$" + name + "}{$" + name + "}\"\n")
		name = next
	}
	name = "a"
	for range 2000 {
		name += "b"
		many.WriteString(define + "NAME=\"" + name + "\",VALUE=\"\"\n")
	}
	line := strings.Repeat("{$a}", 20) + "\n"
	for range 80 {
		long.WriteString("#EXTINF:1,\n" + line)
	}
	for name, text := range map[string]string{
		"doubling": doubling.String(), "many": many.String(), "long": long.String() + "#EXT-X-ENDLIST\n",
	} {
		if _, err := Parse("p", []byte(text)); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: error %v, want ErrLimit", name, err)
		}
	}
}

func TestEditKeepsVariablesOut(t *testing.T) {
	const text = "#EXTM3U\n" + define + "NAME=\"a\",VALUE=\"dir\"\n#EXTINF:1,\n{$a}/s.ts?x={$a}\n#EXT-X-ENDLIST\n"
	p := mustParse(t, text)
	for uri, ok := range map[string]bool{
		"moved/dir/s.ts?x={$a}": true,
		"moved/dir/s.ts?x=dir":  true,
		"moved/{$a}/s.ts":       false,
		"moved/{$b}/s.ts":       false,
		"moved/{$/s.ts":         false,
		"moved/s.ts?y={$a}":     false,
		"moved/s.ts?y={$b}":     false,
		"moved/s.ts?y={$":       true,
	} {
		out, err := p.Edit(func(Ref) (Replacement, error) { return Replacement{URI: uri}, nil })
		if (err == nil) != ok {
			t.Errorf("%s: error %v", uri, err)
		}
		if want := strings.Replace(text, "{$a}/s.ts?x={$a}", uri, 1); ok && string(out) != want {
			t.Errorf("edited to %q", out)
		}
	}
}
