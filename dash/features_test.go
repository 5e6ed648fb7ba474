package dash

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// feature is what an MPD of testdata leads to: each Representation with its KIDs
// (their last digits), and what it is under its other BaseURLs.
type feature struct {
	leads []string
	// edits are old and new text, for a move of everything.
	edits []string
}

func features() map[string]feature {
	return map[string]feature{
		"references.mpd": {
			leads: []string{
				"v [1] pssh=1 file= init=v/i.mp4 media=[v/1.m4s v/2.m4s]", "a [2] pssh=1 file= init=a/i.mp4 media=[a/1.m4s a/2.m4s]",
				"v [1] pssh=0 file= init=v/i.mp4 media=[v/3.m4s v/4.m4s]", "c [] pssh=0 file= init=c/i.mp4 media=[c/1.m4s]",
			},
			edits: []string{`="v/`, `="_rekey/r1/v/`, `="a/`, `="_rekey/r1/a/`, `="c/`, `="_rekey/r1/c/`},
		},
		"protections.mpd": {
			leads: []string{
				"v [1 3] pssh=3 file= init=v/i.mp4 media=[v/00001.m4s]", "w [4 5] pssh=3 file= init=w/i.mp4 media=[w/00001.m4s]",
				"t [1] pssh=0 file=trick.mp4 init= media=[]", "a [2] pssh=0 file= init=a/i.mp4 media=[a/1.m4s]",
			},
			edits: []string{`initialization="`, `initialization="_rekey/r1/`, `media="`, `media="_rekey/r1/`, ">trick", ">_rekey/r1/trick"},
		},
		"templates.mpd": {
			leads: []string{
				"a [] pssh=0 file= init=a-00001000.mp4 media=[a/00000.m4s a/00001.m4s a/00002.m4s]", "b [] pssh=0 file= init=b-00002000.mp4 media=[b$/0.m4s b$/1.m4s]",
				"c [] pssh=0 file= init=own/init.mp4 media=[c/100.m4s c/110.m4s c/120.m4s c/125.m4s]",
				"d [] pssh=0 file= init=d/i.mp4 media=[d/6.m4s d/9.m4s d/10.m4s]",
			},
			edits: []string{`initialization="`, `initialization="_rekey/r1/`, `media="`, `media="_rekey/r1/`, `"own/`, `"_rekey/r1/own/`},
		},
		"bases.mpd": {
			leads: []string{
				"relative [] pssh=0 file= init=https://a.example/movie/v/i.mp4 media=[https://a.example/movie/v/1.m4s]; init=//b.example/movie/v/i.mp4 media=[//b.example/movie/v/1.m4s] file=",
				"rooted [] pssh=0 file= init=https://a.example/movie/r/i.mp4 media=[https://a.example/movie/r/1.m4s]; init=//b.example/movie/r/i.mp4 media=[https://a.example/movie/r/1.m4s] file=",
				"file [] pssh=0 file=https://a.example/movie/s/f.mp4 init= media=[]; init= media=[] file=//b.example/movie/s/f.mp4",
				"files [] pssh=0 file=https://a.example/movie/s/g.mp4 init= media=[]; init= media=[] file=https://a.example/movie/s/g.mp4; init= media=[] file=https://a.example/movie/s/g.mp4; init= media=[] file=//b.example/movie/s/g.mp4",
			},
			edits: []string{
				`="i.mp4" media="$`, `="../_rekey/r1/v/i.mp4" media="../_rekey/r1/v/$`, `"/movie/r/`, `"/movie/_rekey/r1/r/`, `movie/r/$`, `movie/_rekey/r1/r/$`,
				`>f.mp4`, `>../_rekey/r1/s/f.mp4`, `movie/s/g`, `movie/_rekey/r1/s/g`,
			},
		},
		"ranges.mpd": {
			leads: []string{
				"named [] pssh=0 file=v.mp4 init= media=[]", "apart [] pssh=0 file= init=w/i.mp4 media=[w/w.mp4]",
				"two [] pssh=0 file= init=x/i.mp4 media=[x/1.mp4 x/2.mp4]", "base [] pssh=0 file= init=y/i.mp4 media=[y/y.mp4]",
			},
			edits: []string{
				`"v.mp4"`, `"_rekey/r1/v.mp4"`, `'v.mp4'`, `'_rekey/r1/v.mp4'`, `>w/w`, `>_rekey/r1/w/w`, `"w.sidx`, `"../../../w/w.sidx`,
				`"x/`, `"_rekey/r1/x/`, `>y/y`, `>_rekey/r1/y/y`, `"y.sidx`, `"../../../y/y.sidx`,
			},
		},
		"kept.mpd": {
			leads: []string{"v [] pssh=0 file= init=v/i.mp4 media=[v/1.m4s]"},
			edits: []string{`='v/`, `='_rekey/r1/v/`, `="v/`, `="_rekey/r1/v/`},
		},
	}
}

// intoTree moves everything into a rotation's folder, beside the MPD or where the
// servers of testdata have the same.
func intoTree(_ *Representation, _ bool, ref string) (string, error) {
	for _, origin := range []string{"https://a.example/movie/", "//b.example/movie/", "/movie/"} {
		if rest, ok := strings.CutPrefix(clean(ref), origin); ok {
			return origin + "_rekey/r1/" + rest, nil
		}
	}
	if isAbsolute(ref) {
		return "", fmt.Errorf("%q is on no known server", ref)
	}
	return "_rekey/r1/" + ref, nil
}

func TestFeatures(t *testing.T) {
	all := ownMPDs(t)
	for name, tt := range features() {
		t.Run(name, func(t *testing.T) {
			text := string(all[name])
			m := mustParse(t, text)
			if err := m.Unsupported(); err != nil {
				t.Fatal(err)
			}
			if got := featureLeads(m); !slices.Equal(got, tt.leads) {
				t.Errorf("leads to\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.leads, "\n"))
			}
			out, err := m.Edit(Edits{Move: intoTree})
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.NewReplacer(tt.edits...).Replace(text); string(out) != want {
				t.Errorf("edited to\n%s\nwant\n%s", out, want)
			}
		})
	}
}

func featureLeads(m *MPD) []string {
	var out []string
	for i, r := range m.Representations {
		var kids []string
		for _, kid := range r.DefaultKIDs {
			kids = append(kids, strings.TrimLeft(kid.String()[20:], "0"))
		}
		s := fmt.Sprintf("%s %v pssh=%d %s", r.ID, kids, len(r.PSSH), strings.TrimPrefix(leads(m)[i], r.ID+" "))
		for i := range r.OtherBases {
			init, media, file := r.At(i)
			s += fmt.Sprintf("; init=%s media=%v file=%s", init, media, file)
		}
		out = append(out, s)
	}
	return out
}

// mask blanks what an edit may change: references, default_KID, protection data
// and KIDs that are spelled.
func mask(b []byte) []byte {
	for _, re := range []string{
		`(?s)\b(?:media|initialization|sourceURL|index|default_KID)\s*=\s*("[^"]*"|'[^']*')`,
		`(?s)<(?:\w+:)?(?:BaseURL|pssh|pro|kid|MarlinContentId|authzurl)\b[^>]*>(.*?)</`,
	} {
		at := regexp.MustCompile(re).FindAllSubmatchIndex(b, -1)
		for _, m := range slices.Backward(at) {
			b = slices.Concat(b[:m[2]], []byte("*"), b[m[3]:])
		}
	}
	return b
}

// TestOnlyWhatChangesDiffers moves everything and changes every key of every MPD:
// outside references and the names of keys, no byte differs, and nothing names an
// old key.
func TestOnlyWhatChangesDiffers(t *testing.T) {
	all := library(t)
	for name, b := range ownMPDs(t) {
		all[name] = b
	}
	for name, b := range all {
		t.Run(name, func(t *testing.T) {
			m := mustParse(t, string(b))
			changes := key.Changes{}
			for _, kid := range m.KIDs() {
				changes[kid] = key.Change{Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: key.NewKID()}
			}
			out, err := m.Edit(Edits{Move: intoTree, Changes: changes})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(mask(b), mask(out)) {
				t.Errorf("other bytes differ:\n%s\n%s", mask(b), mask(out))
			}
			q := mustParse(t, string(out))
			for i, kid := range q.KIDs() {
				if old := m.KIDs()[i]; changes[old].NewKID != kid {
					t.Errorf("KID %s became %s", old, kid)
				}
			}
			for kid := range changes {
				if bytes.Contains(bytes.ToLower(out), []byte(kid.String())) || bytes.Contains(bytes.ToLower(out), []byte(kid.UUID())) {
					t.Errorf("KID %s is still named", kid)
				}
			}
			if again, err := q.Edit(Edits{Changes: changes}); err != nil || !bytes.Equal(again, out) {
				t.Errorf("the old keys are named still (err %v)", err)
			}
		})
	}
}

// TestBasesThatLeadApart: one text cannot lead to two places.
func TestBasesThatLeadApart(t *testing.T) {
	const two = `<BaseURL>a/</BaseURL><BaseURL>b/c/</BaseURL>`
	aside := func(_ *Representation, _ bool, ref string) (string, error) { return "new/" + ref, nil }
	for name, body := range map[string]string{
		"template": two + `<SegmentTemplate media="m"/><Representation id="r"/>`,
		"file":     two + `<Representation id="r"><BaseURL>f.mp4</BaseURL></Representation>`,
		"list":     two + `<Representation id="r"><SegmentList><SegmentURL media="m"/></SegmentList></Representation>`,
	} {
		if out, err := mustParse(t, document(body)).Edit(Edits{Move: aside}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: error %v, edited to\n%s", name, err, out)
		}
	}
}

// TestSharedBases: several BaseURLs that Representations share, of which one moves.
func TestSharedBases(t *testing.T) {
	text := document(`<BaseURL>v/s.mp4</BaseURL><BaseURL>https://a.example/movie/v/s.mp4</BaseURL><Representation id="a"/><Representation id="b"/>`)
	out, err := mustParse(t, text).Edit(Edits{Move: func(r *Representation, init bool, ref string) (string, error) {
		if r.ID == "b" {
			return ref, nil
		}
		return intoTree(r, init, ref)
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(text, `<Representation id="a"/>`, `<Representation id="a"><BaseURL>../_rekey/r1/v/s.mp4</BaseURL></Representation>`, 1)
	if string(out) != want {
		t.Errorf("edited to\n%s\nwant\n%s", out, want)
	}
}
