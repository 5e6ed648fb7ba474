package dash

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

func stay(_ *Representation, _ bool, ref string) (string, error) { return ref, nil }

// into moves what pick chooses into the folder of a rotation.
func into(pick func(r *Representation, init bool) bool) func(*Representation, bool, string) (string, error) {
	return func(r *Representation, init bool, ref string) (string, error) {
		if pick(r, init) {
			return "_rekey/r1/" + ref, nil
		}
		return ref, nil
	}
}

// messy has everything that an editor likes to tidy away.
const messy = "\uFEFF<?xml version='1.0' encoding='utf-8'?>\r\n" +
	"<?pi <kept> ?><!-- <MPD> & kept -->\r\n" +
	"<m:MPD xmlns:m = 'urn:mpeg:dash:schema:mpd:2011'\r\n\txmlns:other=\"urn:other\" type=\"static\" mediaPresentationDuration='P0DT0H0M4.000S' >\r\n" +
	" <m:Period ><![CDATA[ <kept> ]]><other:Representation id='not one'/>\r\n" +
	"  <m:AdaptationSet><!-- c --><m:SegmentTemplate  media = 'a&#x26;b/$RepresentationID$-$Number$.m4s?x=1&amp;y=&apos;'\n" +
	"    initialization=\"a&amp;b/$RepresentationID$.mp4\" duration='2'  />\r\n" +
	"   <m:Representation id = \"1\" other:x='>' />\r\n" +
	"   <m:Representation id='2'>\r\n" +
	"    <other:y/>\r\n" +
	"   </m:Representation >\r\n" +
	"   <m:Representation id='3'></m:Representation>\r\n" +
	"  </m:AdaptationSet>\r\n" +
	" </m:Period>\r\n" +
	"</m:MPD>\r\n<!-- end -->\n"

func TestEditKeepsEveryByte(t *testing.T) {
	all := library(t)
	for name, b := range ownMPDs(t) {
		all[name] = b
	}
	all["messy"] = []byte(messy)
	for name, b := range all {
		m, err := Parse(name, b)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []Edits{{}, {Move: stay}, {Changes: key.Changes{key.NewKID(): {}}}} {
			out, err := m.Edit(e)
			if err != nil || !bytes.Equal(out, b) {
				t.Errorf("%s: changed by no edit (err %v)", name, err)
			}
		}
	}
}

func TestMoveInPlaceAndByOverride(t *testing.T) {
	const inherited = `media = 'a&#x26;b/$RepresentationID$-$Number$.m4s?x=1&amp;y=&apos;'`
	tests := []struct {
		name string
		pick func(*Representation, bool) bool
		want *strings.Replacer
	}{
		{"all", func(*Representation, bool) bool { return true }, strings.NewReplacer(
			inherited, `media = '_rekey/r1/a&amp;b/$RepresentationID$-$Number$.m4s?x=1&amp;y=&apos;'`,
			`"a&amp;b/$Rep`, `"_rekey/r1/a&amp;b/$Rep`)},
		{"only init", func(_ *Representation, init bool) bool { return init }, strings.NewReplacer(
			`"a&amp;b/$Rep`, `"_rekey/r1/a&amp;b/$Rep`)},
		{"one of three, self-closing", func(r *Representation, _ bool) bool { return r.ID == "1" }, strings.NewReplacer(
			`other:x='>' />`, `other:x='>' ><m:SegmentTemplate initialization="_rekey/r1/a&amp;b/$RepresentationID$.mp4" media="_rekey/r1/a&amp;b/$RepresentationID$-$Number$.m4s?x=1&amp;y='"/></m:Representation>`)},
		{"init of one, after its children", func(r *Representation, init bool) bool { return init && r.ID == "2" }, strings.NewReplacer(
			`<other:y/>`, "<other:y/>\r\n    "+`<m:SegmentTemplate initialization="_rekey/r1/a&amp;b/$RepresentationID$.mp4"/>`)},
		{"media of one, empty", func(r *Representation, init bool) bool { return !init && r.ID == "3" }, strings.NewReplacer(
			`<m:Representation id='3'>`, `<m:Representation id='3'><m:SegmentTemplate media="_rekey/r1/a&amp;b/$RepresentationID$-$Number$.m4s?x=1&amp;y='"/>`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := mustParse(t, messy).Edit(Edits{Move: into(tt.pick)})
			if err != nil {
				t.Fatal(err)
			}
			if want := tt.want.Replace(messy); string(out) != want {
				t.Errorf("edited to\n%s\nwant\n%s", out, want)
			}
		})
	}
}

// TestOverrideInOwnTemplate: the Representation has a SegmentTemplate without the
// attribute that moves.
func TestOverrideInOwnTemplate(t *testing.T) {
	const own = `<SegmentTemplate startNumber="3"/>`
	text := document(`<SegmentTemplate initialization="$RepresentationID$.mp4" media="$RepresentationID$-$Number$" duration="5"/>
   <Representation id="a">` + own + `</Representation>
   <Representation id="b"/>`)
	out, err := mustParse(t, text).Edit(Edits{Move: into(func(r *Representation, _ bool) bool { return r.ID == "a" })})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(text, own, `<SegmentTemplate initialization="_rekey/r1/$RepresentationID$.mp4" media="_rekey/r1/$RepresentationID$-$Number$" startNumber="3"/>`, 1)
	if string(out) != want {
		t.Errorf("edited to\n%s\nwant\n%s", out, want)
	}
	m := mustParse(t, string(out))
	if got := m.Representations[0].Media; !slices.Equal(got, []string{"_rekey/r1/a-3", "_rekey/r1/a-4"}) {
		t.Errorf("moved to %q", got)
	}
}

// TestMoveUnderBaseURL: a template is relative to the BaseURLs, Move is not.
func TestMoveUnderBaseURL(t *testing.T) {
	text := document(`<BaseURL>v1/</BaseURL><SegmentTemplate initialization="$RepresentationID$/i.mp4" media="$RepresentationID$/$Number$" duration="5"/>
   <Representation id="a"><BaseURL>x/y/</BaseURL></Representation><Representation id="b"/>`)
	m := mustParse(t, text)
	out, err := m.Edit(Edits{Move: into(func(*Representation, bool) bool { return true })})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"../../../_rekey/r1/v1/x/y/$RepresentationID$/i.mp4"`, `"../_rekey/r1/v1/$RepresentationID$/i.mp4"`} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	for i, r := range mustParse(t, string(out)).Representations {
		if got, want := clean(r.Init), "_rekey/r1/"+m.Representations[i].Init; got != want {
			t.Errorf("Representation %s leads to %s, want %s", r.ID, got, want)
		}
	}
	outside := mustParse(t, document(`<BaseURL>../v1/</BaseURL><SegmentTemplate media="a"/><Representation id="a"/>`))
	if _, err := outside.Edit(Edits{Move: func(*Representation, bool, string) (string, error) { return "new/a", nil }}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("error %v, want ErrUnsupported", err)
	}
	if out, err := outside.Edit(Edits{Move: func(*Representation, bool, string) (string, error) { return "../v1/_rekey/a", nil }}); err != nil || !bytes.Contains(out, []byte(`media="_rekey/a"`)) {
		t.Errorf("error %v\n%s", err, out)
	}
}

func TestEditRefusesBadReferences(t *testing.T) {
	m := mustParse(t, document(`<SegmentTemplate media="a$Number$" duration="5"/><Representation id="a"/>`))
	for _, ref := range []string{"$Number", "$Nummer$", "a\nb", "a\x00", "a\xffb", "$SubNumber$"} {
		if out, err := m.Edit(Edits{Move: func(*Representation, bool, string) (string, error) { return ref, nil }}); err == nil {
			t.Errorf("%q: edited to\n%s", ref, out)
		}
	}
	own := errors.New("own")
	if _, err := m.Edit(Edits{Move: func(*Representation, bool, string) (string, error) { return "", own }}); !errors.Is(err, own) {
		t.Errorf("error %v", err)
	}
}

// TestRekeyLibrary gives every key of the library's MPDs a new KID.
func TestRekeyLibrary(t *testing.T) {
	changes := key.Changes{}
	for line := range strings.Lines(string(fixtures.Keys())) {
		id, hex, _ := strings.Cut(strings.TrimSpace(line), ":")
		kid, err := key.ParseKID(id)
		if err != nil {
			t.Fatal(err)
		}
		old, err := key.ParseContentKey(hex)
		if err != nil {
			t.Fatal(err)
		}
		changes[kid] = key.Change{Old: old, New: key.NewContentKey(), NewKID: key.NewKID()}
	}
	for name, b := range library(t) {
		m := mustParse(t, string(b))
		out, err := m.Edit(Edits{Changes: changes})
		if err != nil {
			t.Fatal(err)
		}
		if len(out) != len(b) {
			t.Errorf("%s: %d bytes, want %d", name, len(out), len(b))
		}
		for i, r := range mustParse(t, string(out)).Representations {
			was, now := kidsOf(t, m.Representations[i]), kidsOf(t, r)
			if len(was) < 5 || len(was) != len(now) {
				t.Fatalf("%s: %d KIDs named, then %d", name, len(was), len(now))
			}
			for k := range was {
				if changes[was[k]].NewKID != now[k] {
					t.Errorf("%s: KID %s became %s", name, was[k], now[k])
				}
			}
		}
	}
}

func kidsOf(t *testing.T, r *Representation) []key.KID {
	t.Helper()
	kids := slices.Clone(r.DefaultKIDs)
	for _, b := range r.PSSH {
		k, err := pssh.KIDs(b)
		if err != nil {
			t.Fatal(err)
		}
		kids = append(kids, k...)
	}
	for _, b := range r.PRO {
		k, err := pssh.PROKIDs(b)
		if err != nil {
			t.Fatal(err)
		}
		kids = append(kids, k...)
	}
	return kids
}

func TestRekeySpellings(t *testing.T) {
	old, now := key.KID{0xab, 1: 1}, key.KID{0xcd, 1: 2}
	changes := key.Changes{old: {Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: now}}
	guid := func(k key.KID) string {
		g := k.GUID()
		return base64.StdEncoding.EncodeToString(g[:])
	}
	box := func(k key.KID) string {
		b := append([]byte("\x00\x00\x00\x34pssh\x01\x00\x00\x00"), pssh.Common[:]...)
		b = append(append(b, 0, 0, 0, 1), k[:]...)
		return base64.StdEncoding.EncodeToString(append(b, 0, 0, 0, 0))
	}
	split := func(s string) string { return "\r\n\t" + s[:10] + "\n " + s[10:] + "\n" }
	other := key.KID{7}
	for name, spell := range map[string]func(k key.KID) string{
		"dashes": func(k key.KID) string { return `<ContentProtection cenc:default_KID="` + k.UUID() + `"/>` },
		"upper": func(k key.KID) string {
			return `<ContentProtection cenc:default_KID='` + strings.ToUpper(k.UUID()) + `'/>`
		},
		"plain": func(k key.KID) string { return `<ContentProtection default_kid="` + k.String() + `"/>` },
		"list": func(k key.KID) string {
			return `<ContentProtection cenc:default_KID=" ` + other.UUID() + `  ` + k.UUID() + ` "/>`
		},
		"mspr:kid": func(k key.KID) string {
			return `<ContentProtection><mspr:kid>` + guid(k) + `</mspr:kid></ContentProtection>`
		},
		"pssh": func(k key.KID) string {
			return `<ContentProtection><cenc:pssh>` + box(k) + `</cenc:pssh></ContentProtection>`
		},
		"pssh lines": func(k key.KID) string {
			return `<ContentProtection><cenc:pssh>` + split(box(k)) + `</cenc:pssh></ContentProtection>`
		},
		"pssh CDATA": func(k key.KID) string {
			return `<ContentProtection><cenc:pssh> <![CDATA[` + box(k) + `]]> <!-- x --></cenc:pssh></ContentProtection>`
		},
		"pssh prefix": func(k key.KID) string {
			return `<ContentProtection><c:pssh xmlns:c="urn:mpeg:cenc:2013">` + box(k) + `</c:pssh></ContentProtection>`
		},
		"in a comment": func(key.KID) string { return `<!-- ` + old.UUID() + ` --><ContentProtection/>` },
	} {
		t.Run(name, func(t *testing.T) {
			body := `<SegmentTemplate media="a"/><Representation id="r">%</Representation>`
			text := document(strings.Replace(body, "%", spell(old), 1))
			out, err := mustParse(t, text).Edit(Edits{Changes: changes})
			if err != nil {
				t.Fatal(err)
			}
			if want := document(strings.Replace(body, "%", spell(now), 1)); string(out) != want {
				t.Errorf("edited to\n%s\nwant\n%s", out, want)
			}
		})
	}
}

func TestRekeyRefuses(t *testing.T) {
	old := key.KID{1}
	changes := key.Changes{old: {Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: key.NewKID()}}
	guid := old.GUID()
	b64 := base64.StdEncoding.EncodeToString(guid[:])
	for name, tt := range map[string]struct {
		body  string
		class error
	}{
		"entities":  {`<mspr:kid>&#x41;` + b64[1:] + `</mspr:kid>`, ErrUnsupported},
		"pssh":      {`<cenc:pssh>AAAA</cenc:pssh>`, ErrMalformed},
		"PlayReady": {`<mspr:pro>AAAA</mspr:pro>`, ErrMalformed},
	} {
		m := mustParse(t, document(`<ContentProtection>`+tt.body+`</ContentProtection><SegmentTemplate media="a"/><Representation id="r"/>`))
		if _, err := m.Edit(Edits{Changes: changes}); !errors.Is(err, tt.class) {
			t.Errorf("%s: error %v, want %v", name, err, tt.class)
		}
	}
}

// TestInnermostDefaultKID: a Representation's own default_KID stands for that of
// its AdaptationSet.
func TestInnermostDefaultKID(t *testing.T) {
	set, own := key.KID{1}, key.KID{2}
	m := mustParse(t, document(`<ContentProtection cenc:default_KID="`+set.UUID()+`"/><SegmentTemplate media="a"/>
	<Representation id="a"/><Representation id="b"><ContentProtection cenc:default_KID="`+own.UUID()+`"/></Representation>`))
	for i, want := range []key.KID{set, own} {
		if got := m.Representations[i].DefaultKIDs; !slices.Equal(got, []key.KID{want}) {
			t.Errorf("Representation %d has %v, want %v", i, got, want)
		}
	}
}
