package dash

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// FuzzMPD: what parses is byte-identical after an edit that changes nothing, and
// after one that moves some and changes some keys it leads where it was meant to
// and names the new keys, or that is refused.
func FuzzMPD(f *testing.F) {
	add := func(b []byte) {
		f.Add(b, uint64(0))
		f.Add(b, uint64(0xa5c3_9699_f00f_3c5a))
	}
	for _, b := range library(f) {
		add(b)
	}
	for _, b := range ownMPDs(f) {
		add(b)
	}
	add([]byte(messy))
	for _, s := range []string{
		`<SegmentTemplate media="$Number%05d$" initialization="i" duration="2"/><Representation id="r"/><Representation id="s"><SegmentTemplate startNumber="4"/></Representation>`,
		`<ContentProtection cenc:default_KID="44d0c0de-44d0-c0de-44d0-c0de44d0c0d4"><mspr:kid>AAECAwQFBgcICQoLDA0ODw==</mspr:kid></ContentProtection><SegmentTemplate media="$$"/><Representation/>`,
		`<ContentProtection refId="a" cenc:default_KID="a0000000-0000-4000-8000-000000000001"/><ContentProtection ref="a"><x>urn:marlin:kid:a0000000000040008000000000000001</x></ContentProtection><SegmentTemplate media="m"/><Representation/>`,
		`<BaseURL>https://h/a/</BaseURL><BaseURL>/b</BaseURL><BaseURL>//i/a/</BaseURL><SegmentTemplate media="m" initialization="/i"/><Representation/><Representation><BaseURL>..</BaseURL></Representation>`,
		`<BaseURL>v/f.mp4</BaseURL><SegmentBase><Initialization sourceURL="i"/><RepresentationIndex sourceURL="x"/></SegmentBase><Representation/><Representation/>`,
		`<SegmentList><Initialization sourceURL="f" range="0-1"/><SegmentURL media="./f" mediaRange="2-3" index="f"/></SegmentList><Representation/>`,
		`<Representation><BaseURL><![CDATA[a.mp4]]></BaseURL><SegmentBase/></Representation>`,
		`<BaseURL>v/s.mp4</BaseURL><Representation/><Representation><BaseURL/></Representation><Representation mimeType="text/vtt"/>`,
		`<SegmentList><Initialization sourceURL="i"/><SegmentURL media="m"/></SegmentList><Representation/><Representation><BaseURL>b/</BaseURL></Representation>`,
	} {
		add([]byte(document(s)))
	}
	add([]byte(document(`<BaseURL>v/</BaseURL><SegmentTemplate media="$Time$" timescale="2"><SegmentTimeline><S d="7" r="-1"/></SegmentTimeline></SegmentTemplate><Representation id="r"/>`)))
	f.Fuzz(func(t *testing.T, b []byte, choice uint64) {
		m, err := Parse("m", b)
		if err != nil {
			wantError(t, err)
			return
		}
		segments := 0
		for _, r := range m.Representations {
			segments += len(r.Media) * len(r.chains)
		}
		if segments > 10_000 { // within the limits, and too slow for a fuzzer
			return
		}
		fuzzStays(t, m, b)
		fuzzChanges(t, m, choice)
	})
}

func wantError(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Class == nil {
		t.Fatalf("error %v is not an *Error with its place", err)
	}
}

// fuzzStays makes edits that change nothing.
func fuzzStays(t *testing.T, m *MPD, b []byte) {
	t.Helper()
	edits := []Edits{{}}
	if m.Unsupported() == nil {
		edits = append(edits, Edits{Move: stay}, Edits{Changes: key.Changes{key.KID{0xff}: {}}})
	}
	for i, e := range edits {
		out, err := m.Edit(e)
		if i == 2 && err != nil { // protection data that cannot be read
			wantError(t, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out, b) {
			t.Fatalf("edited to %q", out)
		}
	}
}

// fuzzChanges moves some references and changes some keys, as the bits of choice
// say: it is refused, or what comes out leads where it was meant to and names the
// new keys.
func fuzzChanges(t *testing.T, m *MPD, choice uint64) {
	t.Helper()
	taken := func(i int) bool { return choice>>(i%64)&1 == 0 }
	changes := key.Changes{}
	for i, kid := range m.KIDs() {
		if !kid.IsZero() && taken(i) {
			changes[kid] = key.Change{New: key.NewContentKey(), NewKID: key.KID{0xee, byte(i), byte(i >> 8), 1}}
		}
	}
	move := func(r *Representation, init bool, ref string) (string, error) {
		i := 2 * slices.Index(m.Representations, r)
		if init {
			i++
		}
		head, path, _ := anatomy(ref)
		switch {
		case !taken(i):
			return ref, nil
		case head == "" && !strings.HasPrefix(path, "/"):
			return "_rekey/r1/" + ref, nil
		default:
			return head + "/_rekey/r1" + ref[len(head):], nil
		}
	}
	out, err := m.Edit(Edits{Changes: changes, Move: move})
	if err != nil {
		wantError(t, err)
		return
	}
	q, err := Parse("m", out)
	if err != nil || q.Unsupported() != nil {
		t.Fatalf("%v, %v: edited to %q", err, q.Unsupported(), out)
	}
	leads := func(r *Representation, init bool, now, was string) {
		if was != "" {
			was, _ = move(r, init, was)
		}
		if clean(now) != clean(was) {
			t.Errorf("leads to %q, want %q: edited to %q", now, was, out)
		}
	}
	for i, r := range m.Representations {
		now := q.Representations[i]
		leads(r, true, now.Init, r.Init)
		leads(r, true, now.File, r.File)
		if len(now.Media) != len(r.Media) {
			t.Fatalf("%d media, want %d: edited to %q", len(now.Media), len(r.Media), out)
		}
		for k := range r.Media {
			leads(r, false, now.Media[k], r.Media[k])
		}
	}
	for i, kid := range m.KIDs() {
		if got := q.KIDs()[i]; got != renamed(kid, changes) {
			t.Errorf("KID %s became %s: edited to %q", kid, got, out)
		}
	}
}
