package dash

import (
	"bytes"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// FuzzMPD: what parses is byte-identical after an edit that changes nothing, and
// an edit that moves everything leads where it was meant to or is an error.
func FuzzMPD(f *testing.F) {
	for _, b := range library(f) {
		f.Add(b)
	}
	for _, b := range ownMPDs(f) {
		f.Add(b)
	}
	f.Add([]byte(messy))
	for _, s := range []string{
		`<SegmentTemplate media="$Number%05d$" initialization="i" duration="2"/><Representation id="r"/><Representation id="s"><SegmentTemplate startNumber="4"/></Representation>`,
		`<ContentProtection cenc:default_KID="44d0c0de-44d0-c0de-44d0-c0de44d0c0d4"><mspr:kid>AAECAwQFBgcICQoLDA0ODw==</mspr:kid></ContentProtection><SegmentTemplate media="$$"/><Representation/>`,
		`<Representation><BaseURL><![CDATA[a.mp4]]></BaseURL><SegmentBase/></Representation>`,
		`<BaseURL>v/s.mp4</BaseURL><Representation/><Representation><BaseURL/></Representation><Representation mimeType="text/vtt"/>`,
		`<SegmentList><Initialization sourceURL="i"/><SegmentURL media="m"/></SegmentList><Representation/><Representation><BaseURL>b/</BaseURL></Representation>`,
	} {
		f.Add([]byte(document(s)))
	}
	f.Add([]byte(document(`<BaseURL>v/</BaseURL><SegmentTemplate media="$Time$" timescale="2"><SegmentTimeline><S d="7" r="-1"/></SegmentTimeline></SegmentTemplate><Representation id="r"/>`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse("m", b)
		if err != nil {
			return
		}
		segments := 0
		for _, r := range m.Representations {
			segments += len(r.Media)
		}
		if segments > 10_000 { // within the limits, and too slow for a fuzzer
			return
		}
		edits := []Edits{{}}
		if m.Unsupported() == nil {
			edits = append(edits, Edits{Move: stay}, Edits{Changes: key.Changes{key.KID{0xff}: {}}})
		}
		for i, e := range edits {
			out, err := m.Edit(e)
			if i == 2 && err != nil { // protection data that cannot be read
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out, b) {
				t.Fatalf("edited to %q", out)
			}
		}
		changes := key.Changes{}
		for _, r := range m.Representations {
			for _, kid := range r.DefaultKIDs {
				changes[kid] = key.Change{Old: key.ContentKey{}, New: key.NewContentKey(), NewKID: key.KID{1}}
			}
		}
		_, _ = m.Edit(Edits{Changes: changes, Move: into(func(r *Representation, init bool) bool { return init || r == m.Representations[0] })})
	})
}
