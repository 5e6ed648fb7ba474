package dash

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// ownMPDs returns those of testdata; none is a failure.
func ownMPDs(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.mpd")
	if err != nil || len(files) == 0 {
		t.Fatalf("glob: %d files, err %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		if all[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func everything(*Representation, bool) bool { return true }

func leads(m *MPD) []string {
	var out []string
	for _, r := range m.Representations {
		out = append(out, fmt.Sprintf("%s file=%s init=%s media=%v", r.ID, clean(r.File), clean(r.Init), r.Media))
	}
	return out
}

func TestFilesAndLists(t *testing.T) {
	tests := map[string]struct {
		leads []string
		edits []string // old and new text, for a move of everything
	}{
		"on-demand-cbcs.mpd": {
			[]string{"0 file=hi.mp4 init= media=[]", "1 file=sub/lo&1.mp4?v=2 init= media=[]", "2 file= init= media=[]"},
			[]string{" hi.mp4\n", " _rekey/r1/hi.mp4\n", "<BaseURL>sub/", "<BaseURL>_rekey/r1/sub/"},
		},
		"on-demand-roll.mpd": {
			[]string{"v file=v1/track1.mp4 init= media=[]", "a file=v1/track2.mp4 init= media=[]"},
			[]string{"<BaseURL>track", "<BaseURL>../_rekey/r1/v1/track"},
		},
		"rotation-cenc.mpd": {
			[]string{"0 file= init=hi/init.mp4 media=[hi/seg_1.m4s hi/seg_2.m4s]"},
			[]string{`="hi/`, `="_rekey/r1/hi/`},
		},
		"list.mpd": {
			[]string{"v file= init=video/init.mp4 media=[video/a$1.m4s video/b&2.m4s]", "a file=audio.mp4 init= media=[]"},
			[]string{`="init.mp4"`, `="../_rekey/r1/video/init.mp4"`, `='a$1`, `='../_rekey/r1/video/a$1`, `="b&amp;2`, `="../_rekey/r1/video/b&amp;2`, ">audio.mp4", ">_rekey/r1/audio.mp4"},
		},
	}
	all := ownMPDs(t)
	if want := len(tests) + len(features()); len(all) != want {
		t.Errorf("%d files, %d of them tested", len(all), want)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := string(all[name])
			m := mustParse(t, text)
			if err := m.Unsupported(); err != nil {
				t.Fatal(err)
			}
			if got := leads(m); !slices.Equal(got, tt.leads) {
				t.Errorf("leads to\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.leads, "\n"))
			}
			out, err := m.Edit(Edits{Move: into(everything)})
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.NewReplacer(tt.edits...).Replace(text); string(out) != want {
				t.Errorf("edited to\n%s\nwant\n%s", out, want)
			}
		})
	}
}

// TestSchemes: the value of the protection says nothing about what the MPD leads
// to; one without a default_KID names no key.
func TestSchemes(t *testing.T) {
	for _, scheme := range []string{"cenc", "cens", "cbc1", "cbcs"} {
		for kid, want := range map[string]int{"": 0, ` cenc:default_KID=""`: 0, ` cenc:default_KID="a0000000-0000-4000-8000-000000000001"`: 1} {
			m := mustParse(t, document(`<ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011" value="`+scheme+`"`+kid+`/>
			<Representation id="r"><BaseURL>a.mp4</BaseURL></Representation>`))
			if r := m.Representations[0]; m.Unsupported() != nil || len(r.DefaultKIDs) != want || r.File != "a.mp4" {
				t.Errorf("%s%s: %v, %d KIDs, file %q", scheme, kid, m.Unsupported(), len(r.DefaultKIDs), r.File)
			}
		}
	}
}

// TestLateSpelledKID: a key that only the media names is spelled in a licence URL.
func TestLateSpelledKID(t *testing.T) {
	kid := key.NewKID()
	m := mustParse(t, document(`<ContentProtection schemeIdUri="x"><laurl>https://l/?k=`+kid.String()+`</laurl></ContentProtection><Representation id="r"><BaseURL>a.mp4</BaseURL></Representation>`))
	if err := m.Unsupported(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Edit(Edits{Changes: key.Changes{key.NewKID(): {}}}); err != nil {
		t.Error(err)
	}
	now := key.NewKID()
	out, err := m.Edit(Edits{Changes: key.Changes{kid: {NewKID: now}}})
	if want := strings.Replace(string(m.raw), kid.String(), now.String(), 1); err != nil || string(out) != want {
		t.Errorf("error %v, edited to %s", err, out)
	}
	for _, spelling := range []string{base64.RawURLEncoding.EncodeToString(kid[:]), "a" + kid.String(), "&#" + fmt.Sprint(kid.String()[0]) + ";" + kid.String()[1:]} {
		m := mustParse(t, document(`<ContentProtection schemeIdUri="x"><laurl>https://l/?k=`+spelling+`</laurl></ContentProtection>`))
		if _, err := m.Edit(Edits{Changes: key.Changes{kid: {NewKID: now}}}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "laurl spells a KID") {
			t.Errorf("%s: error %v", spelling, err)
		}
	}
}

func TestNestedBaseURLs(t *testing.T) {
	for name, tt := range map[string]struct{ set, rep, want string }{
		"own":           {`<BaseURL>v/</BaseURL>`, `<BaseURL>a.mp4</BaseURL>`, "v/a.mp4"},
		"shared":        {`<BaseURL>v/s.mp4</BaseURL>`, ``, "v/s.mp4"},
		"beside shared": {`<BaseURL>v/s.mp4</BaseURL>`, `<BaseURL>a.mp4</BaseURL>`, "v/a.mp4"},
		"up":            {`<BaseURL>v/w/</BaseURL>`, `<BaseURL>../a.mp4</BaseURL>`, "v/a.mp4"},
		"empty":         {`<BaseURL>v/s.mp4</BaseURL>`, `<BaseURL> </BaseURL>`, "v/s.mp4"},
		"query":         {`<BaseURL>v/?x=/y</BaseURL>`, `<BaseURL>a.mp4?b=/</BaseURL>`, "v/a.mp4?b=/"},
		"colon":         {`<BaseURL>v/</BaseURL>`, `<BaseURL>./a:b.mp4</BaseURL>`, "v/a:b.mp4"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mustParse(t, document(tt.set+`<Representation id="r">`+tt.rep+`<SegmentBase/></Representation>`))
			if err := m.Unsupported(); err != nil {
				t.Fatal(err)
			}
			if got := clean(m.Representations[0].File); got != tt.want {
				t.Fatalf("file %q, want %q", got, tt.want)
			}
			out, err := m.Edit(Edits{Move: into(everything)})
			if err != nil {
				t.Fatal(err)
			}
			if got := clean(mustParse(t, string(out)).Representations[0].File); got != "_rekey/r1/"+tt.want {
				t.Errorf("moved to %q:\n%s", got, out)
			}
		})
	}
}

// TestTextOfBaseURL: what stands around and between the characters stays.
func TestTextOfBaseURL(t *testing.T) {
	for old, want := range map[string]string{
		"a.mp4":                              "n&amp;w.mp4",
		"\r\n\ta.mp4 ":                       "\r\n\tn&amp;w.mp4 ",
		" <![CDATA[ a.mp4 ]]> ":              " <![CDATA[ n&w.mp4 ]]> ",
		"a<!-- c -->.mp4":                    "n&amp;w.mp4<!-- c -->",
		"a&#x2e;<![CDATA[m]]><?p?>p<!---->4": "n&amp;w.mp4<![CDATA[]]><?p?><!---->",
	} {
		text := document(`<Representation id="r"><BaseURL serviceLocation='x' >` + old + `</BaseURL ></Representation>`)
		out, err := mustParse(t, text).Edit(Edits{Move: func(_ *Representation, init bool, ref string) (string, error) {
			if !init || ref != "a.mp4" {
				t.Errorf("asked for %q, init %v", ref, init)
			}
			return "n&w.mp4", nil
		}})
		if err != nil {
			t.Errorf("%q: %v", old, err)
		} else if want := strings.Replace(text, old, want, 1); string(out) != want {
			t.Errorf("edited to\n%s\nwant\n%s", out, want)
		}
	}
	m := mustParse(t, document(`<Representation><BaseURL><![CDATA[a]]></BaseURL></Representation>`))
	for _, ref := range []string{"a]]>", " a", "b/", "", "a\x01"} {
		if out, err := m.Edit(Edits{Move: func(*Representation, bool, string) (string, error) { return ref, nil }}); err == nil {
			t.Errorf("%q: edited to\n%s", ref, out)
		}
	}
}

// TestSharedBaseURL: one BaseURL names the files of several Representations, or
// of some, and is where others look for theirs.
func TestSharedBaseURL(t *testing.T) {
	const shared = "<BaseURL>v/s.mp4</BaseURL>"
	first := func(r *Representation, _ bool) bool { return r.ID == "a" }
	tests := []struct {
		name, body string
		pick       func(*Representation, bool) bool
		edits      []string
	}{
		{"all move", shared + `<Representation id="a"/><Representation id="b"><SegmentBase/></Representation>`, everything,
			[]string{"v/s.mp4", "_rekey/r1/v/s.mp4"}},
		{"one moves, empty", shared + `<Representation id="a"/><Representation id="b"/>`, first,
			[]string{`<Representation id="a"/>`, `<Representation id="a"><BaseURL>../_rekey/r1/v/s.mp4</BaseURL></Representation>`}},
		{"one moves, before its segments", shared + "<Representation id=\"a\">\n  <Other/>\n  <SegmentBase/>\n</Representation><Representation id=\"b\"/>", first,
			[]string{"  <SegmentBase/>", "  <BaseURL>../_rekey/r1/v/s.mp4</BaseURL>\n  <SegmentBase/>"}},
		{"one moves, after its children", shared + "<Representation id=\"a\">\n  <Other/>\n</Representation><Representation id=\"b\"/>", first,
			[]string{"  <Other/>", "  <Other/>\n  <BaseURL>../_rekey/r1/v/s.mp4</BaseURL>"}},
		{"another is in its folder", shared + `<Representation id="a"/><Representation id="b"><BaseURL>x.mp4</BaseURL></Representation>`, everything,
			[]string{`<Representation id="a"/>`, `<Representation id="a"><BaseURL>../_rekey/r1/v/s.mp4</BaseURL></Representation>`, ">x.mp4", ">../_rekey/r1/v/x.mp4"}},
		{"a template is in its folder", shared + `<Representation id="a"/><Representation id="b"><SegmentTemplate media="x"/></Representation>`, first,
			[]string{`<Representation id="a"/>`, `<Representation id="a"><BaseURL>../_rekey/r1/v/s.mp4</BaseURL></Representation>`}},
		{"a sidecar reads it", shared + `<Representation id="a"/><Representation id="b" mimeType="text/vtt"/>`, everything,
			[]string{`<Representation id="a"/>`, `<Representation id="a"><BaseURL>../_rekey/r1/v/s.mp4</BaseURL></Representation>`}},
		{"list of all", `<SegmentList><Initialization sourceURL="i"/><SegmentURL media="m"/></SegmentList><Representation id="a"/><Representation id="b"/>`, everything,
			[]string{`"i"`, `"_rekey/r1/i"`, `"m"`, `"_rekey/r1/m"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := document(tt.body)
			out, err := mustParse(t, text).Edit(Edits{Move: into(tt.pick)})
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.NewReplacer(tt.edits...).Replace(text); string(out) != want {
				t.Errorf("edited to\n%s\nwant\n%s", out, want)
			}
		})
	}
	for name, tt := range map[string]struct{ body, want string }{
		"empty BaseURL":   {shared + `<Representation id="a"><BaseURL/></Representation><Representation id="b"/>`, "empty BaseURL"},
		"shared list":     {`<SegmentList><SegmentURL media="m"/></SegmentList><Representation id="a"/><Representation id="b"/>`, "media is shared"},
		"shared init":     {`<SegmentList><Initialization sourceURL="i"/></SegmentList><Representation id="a"><SegmentList><SegmentURL media="a"/></SegmentList></Representation><Representation id="b"><SegmentList><SegmentURL media="b"/></SegmentList></Representation>`, "sourceURL is shared"},
		"outside the MPD": {`<Representation id="a"><BaseURL>../v/</BaseURL><SegmentList><SegmentURL media="m"/></SegmentList></Representation>`, "leaves the MPD's folder"},
	} {
		_, err := mustParse(t, document(tt.body)).Edit(Edits{Move: into(first)})
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
}

func TestFilesAndListsRefused(t *testing.T) {
	list := func(inner string) string {
		return `<Representation id="r"><BaseURL>a.mp4</BaseURL><SegmentList>` + inner + `</SegmentList></Representation>`
	}
	base := func(inner string) string {
		return `<Representation id="r"><BaseURL>a.mp4</BaseURL><SegmentBase>` + inner + `</SegmentBase></Representation>`
	}
	const bare = `<Representation id="r"/>`
	for name, tt := range map[string]struct{ body, want string }{
		"no BaseURL":              {bare, "no BaseURL that names a file"},
		"folder":                  {`<BaseURL>v/</BaseURL>` + bare, "no BaseURL that names a file"},
		"dots":                    {`<BaseURL>v/..</BaseURL>` + bare, "no BaseURL that names a file"},
		"query":                   {`<BaseURL>a.mp4</BaseURL><Representation id="r"><BaseURL>?x</BaseURL></Representation>`, "no BaseURL that names a file"},
		"unknown in SegmentBase":  {base(`<BitstreamSwitching/>`), "BitstreamSwitching in a SegmentBase"},
		"two kinds":               {`<SegmentTemplate media="$Number$"/>` + base(``), `Representation "r" with SegmentBase and SegmentTemplate`},
		"two other kinds":         {`<SegmentList/>` + base(``), `Representation "r" with SegmentBase and SegmentList`},
		"empty list":              {list(``), "SegmentList without a SegmentURL"},
		"ranges without init":     {list(`<SegmentURL mediaRange="0-1"/>`), "byte ranges without an Initialization"},
		"ranges of another init":  {list(`<Initialization sourceURL="i" range="0-1"/><SegmentURL mediaRange="0-1"/>`), "Initialization with range in this SegmentList"},
		"ranges, then an object":  {list(`<Initialization range="0-1"/><SegmentURL mediaRange="2-3"/><SegmentURL media="m"/>`), "SegmentURL without mediaRange"},
		"whole file listed":       {list(`<SegmentURL/>`), "SegmentURL without mediaRange"},
		"objects with init range": {list(`<Initialization range="0-1"/><SegmentURL media="m"/>`), "Initialization without sourceURL"},
		"init in part":            {list(`<Initialization sourceURL="i" range="0-1"/><SegmentURL media="m"/>`), "Initialization with range"},
		"object, then a range":    {list(`<SegmentURL media="m"/><SegmentURL mediaRange="0-1"/>`), "SegmentURL without media"},
		"index of a file":         {list(`<RepresentationIndex range="0-1"/><SegmentURL media="m"/>`), "RepresentationIndex of a file"},
		"empty media":             {list(`<SegmentURL media=""/>`), "media that names no object"},
		"media of a query":        {list(`<SegmentURL media="?n=1"/>`), "media that names no object"},
		"folder as init":          {list(`<Initialization sourceURL="i/"/><SegmentURL media="m"/>`), "sourceURL that names no object"},
		"unknown in SegmentList":  {list(`<BitstreamSwitching/><SegmentURL media="m"/>`), "BitstreamSwitching in a SegmentList"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mustParse(t, document(tt.body))
			if err := m.Unsupported(); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if _, err := m.Edit(Edits{Move: stay}); !errors.Is(err, ErrUnsupported) {
				t.Errorf("edit: error %v", err)
			}
		})
	}
}

// TestListInheritance: the innermost SegmentURLs and the innermost Initialization
// are in force, each for itself; BaseURLs differ.
func TestListInheritance(t *testing.T) {
	m := mustParse(t, document(`<SegmentList><Initialization sourceURL="i"/><SegmentURL media="m"/></SegmentList>
	<Representation id="a"><BaseURL>a/</BaseURL></Representation>
	<Representation id="b"><SegmentList><SegmentURL media="n"/><SegmentURL media="n"/><SegmentTimeline><S d="1"/></SegmentTimeline></SegmentList></Representation>
	<Representation id="c"><SegmentList><Initialization sourceURL="j"/></SegmentList></Representation>`))
	if err := m.Unsupported(); err != nil {
		t.Fatal(err)
	}
	want := []string{"a file= init=a/i media=[a/m]", "b file= init=i media=[n n]", "c file= init=j media=[m]"}
	if got := leads(m); !slices.Equal(got, want) {
		t.Errorf("leads to\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	out, err := m.Edit(Edits{Move: func(r *Representation, init bool, ref string) (string, error) {
		if r.ID == "b" && !init || r.ID == "c" && init {
			return "x/" + ref, nil
		}
		return ref, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	want = []string{"a file= init=a/i media=[a/m]", "b file= init=i media=[x/n x/n]", "c file= init=x/j media=[m]"}
	if got := leads(mustParse(t, string(out))); !slices.Equal(got, want) || bytes.Count(out, []byte("x/")) != 3 {
		t.Errorf("moved to\n%s\nin\n%s", strings.Join(got, "\n"), out)
	}
}
