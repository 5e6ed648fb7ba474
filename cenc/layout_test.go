package cenc

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// clearOf is the mdat a made segment has when it is decrypted.
func clearOf(trafs ...madeTraf) (out []byte) {
	for _, t := range trafs {
		for _, run := range t.runs {
			for _, s := range run {
				out = append(out, s.clear...)
			}
		}
	}
	return out
}

// TestLayouts rekeys layouts that the fixtures do not have.
func TestLayouts(t *testing.T) {
	a, b := newMadeTrack(1, 8), newMadeTrack(2, 16)
	subs := [][2]int{{5, 20}, {3, 17}, {0, 55}}
	whole := func(tr madeTrack, n int, start uint64) []madeSample { return madeRun(n, 100, tr.ivSize, start, nil) }
	wrapping := whole(b, 2, 9)
	for i := range wrapping {
		wrapping[i].iv = join(be(8, uint64(i)+9), be(8, ^uint64(0)-uint64(2*i)))
	}
	lead := whole(a, 4, 7)
	lead[0].iv, lead[1].iv = nil, nil
	for name, tc := range map[string]struct {
		trafs   []madeTraf
		finding string
		samples int
	}{
		"senc alone":               {[]madeTraf{{track: a, senc: true, runs: [][]madeSample{whole(a, 3, 1)}}}, "", 3},
		"senc, saiz, saio":         {[]madeTraf{{track: a, senc: true, saiz: true, runs: [][]madeSample{whole(a, 3, 1)}}}, "", 3},
		"subsamples":               {[]madeTraf{{track: a, senc: true, saiz: true, runs: [][]madeSample{madeRun(3, 100, 8, 1, subs)}}}, "", 3},
		"saiz, saio in mdat":       {[]madeTraf{{track: a, saiz: true, auxInMdat: true, runs: [][]madeSample{madeRun(3, 100, 8, 1, subs)}}}, "", 3},
		"and a copy in senc":       {[]madeTraf{{track: b, senc: true, saiz: true, auxInMdat: true, runs: [][]madeSample{madeRun(3, 100, 16, 1, subs)}}}, "", 3},
		"saio wins over senc":      {[]madeTraf{{track: a, senc: true, saiz: true, auxInMdat: true, otherIV: true, runs: [][]madeSample{whole(a, 3, 1)}}}, FindingIVCopies, 3},
		"piff beside senc":         {[]madeTraf{{track: a, senc: true, piff: true, saiz: true, runs: [][]madeSample{madeRun(3, 100, 8, 1, subs)}}}, "", 3},
		"two runs":                 {[]madeTraf{{track: a, senc: true, saiz: true, runs: [][]madeSample{whole(a, 2, 1), whole(a, 3, 5)}}}, "", 5},
		"two trafs":                {[]madeTraf{{track: a, senc: true, runs: [][]madeSample{whole(a, 2, 1)}}, {track: b, senc: true, saiz: true, runs: [][]madeSample{whole(b, 2, 1)}}}, "", 4},
		"one track in two trafs":   {[]madeTraf{{track: a, senc: true, runs: [][]madeSample{whole(a, 2, 1)}}, {track: a, senc: true, runs: [][]madeSample{whole(a, 2, 3)}}}, "", 4},
		"clear fragment":           {[]madeTraf{{track: a, runs: [][]madeSample{lead[:2]}}, {track: a, senc: true, runs: [][]madeSample{whole(a, 2, 3)}}}, "", 2},
		"clear samples by saiz":    {[]madeTraf{{track: a, saiz: true, auxInMdat: true, runs: [][]madeSample{lead}}}, "", 2},
		"counter wraps in low 64":  {[]madeTraf{{track: b, senc: true, runs: [][]madeSample{wrapping}}}, FindingWrap, 2},
		"IV used twice":            {[]madeTraf{{track: a, senc: true, runs: [][]madeSample{whole(a, 2, 1), whole(a, 1, 2)}}}, FindingIVReuse, 3},
		"counter blocks that meet": {[]madeTraf{{track: b, senc: true, runs: [][]madeSample{{{clear: make([]byte, 100), iv: join(be(8, 1), be(8, 10))}, {clear: make([]byte, 10), iv: join(be(8, 1), be(8, 16))}}}}}, FindingIVReuse, 2},
	} {
		t.Run(name, func(t *testing.T) {
			ch := newChanges(map[key.KID]key.ContentKey{a.kid: a.key, b.kid: b.key})
			src := makeSegment(tc.trafs...)
			in := mustInit(t, makeInit(a, b))
			rk, err := NewRekeyer(in, ch, Options{})
			if err != nil {
				t.Fatal(err)
			}
			res, err := rk.Segment(placeOf(t, name, 5, 6), src)
			if err != nil {
				t.Fatal(err)
			}
			if res.Samples != tc.samples || !bytes.Contains(res.Clear, clearOf(tc.trafs...)) {
				t.Errorf("%d samples; decrypted as the clause says: %v", res.Samples, bytes.Contains(res.Clear, clearOf(tc.trafs...)))
			}
			if got := fmt.Sprint(res.Findings); (tc.finding == "") != (len(res.Findings) == 0) || !strings.Contains(got, tc.finding) {
				t.Errorf("findings %s, want %q", got, tc.finding)
			}
			out, err := in.Rekey(nil, ch)
			if err != nil {
				t.Fatal(err)
			}
			d, err := NewDecrypter(mustInit(t, out), newKeys(ch), Options{})
			if err != nil {
				t.Fatal(err)
			}
			again, err := d.Segment(name, res.Out)
			if err != nil || !bytes.Equal(again.Clear, res.Clear) || len(again.Findings) != 0 {
				t.Errorf("the new object decrypts to something else, or has findings: %v %v", again.Findings, err)
			}
			if len(res.Out) != len(src) {
				t.Errorf("%d bytes became %d", len(src), len(res.Out))
			}
		})
	}
}

// TestOneOfTwoTracks: a track whose KID does not change keeps every byte.
func TestOneOfTwoTracks(t *testing.T) {
	a, b := newMadeTrack(1, 8), newMadeTrack(2, 16)
	src := makeSegment(
		madeTraf{track: a, senc: true, saiz: true, runs: [][]madeSample{madeRun(3, 64, 8, 1, nil)}},
		madeTraf{track: b, senc: true, saiz: true, runs: [][]madeSample{madeRun(3, 64, 16, 1, nil)}})
	rk, err := NewRekeyer(mustInit(t, makeInit(a, b)), newChanges(map[key.KID]key.ContentKey{b.kid: b.key}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	res, err := rk.Segment(Place{}, src)
	if err != nil || res.Samples != 3 {
		t.Fatalf("%d samples, %v", res.Samples, err)
	}
	if i := len(src) - 6*64; !bytes.Equal(src[i:i+3*64], res.Out[i:i+3*64]) || bytes.Equal(src[i+3*64:], res.Out[i+3*64:]) {
		t.Error("the wrong track changed")
	}
	if i := bytes.Index(src, []byte("senc")); !bytes.Equal(src[:i+80], res.Out[:i+80]) {
		t.Error("the IVs of the track that stays changed")
	}
}

func TestNewIVs(t *testing.T) {
	a := newMadeTrack(1, 16)
	in := mustInit(t, makeInit(a))
	ch := newChanges(map[key.KID]key.ContentKey{a.kid: a.key})
	rk, err := NewRekeyer(in, ch, Options{})
	if err != nil {
		t.Fatal(err)
	}
	src := makeSegment(madeTraf{track: a, senc: true, runs: [][]madeSample{madeRun(2, 64, 16, 1, nil)}})
	res, err := rk.Segment(placeOf(t, "", 0x1122, 0x334455), src)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(res.Out, []byte("senc")) + 12
	want := join(be(8, 0x1122334455000000), be(8, 0), be(8, 0x1122334455000001), be(8, 0))
	if got := res.Out[at : at+32]; !bytes.Equal(got, want) {
		t.Errorf("IVs are %x, want %x", got, want)
	}
	if _, err := StructuredIVs(1, 1<<24); !errors.Is(err, ErrLimit) {
		t.Errorf("object number of 25 bits: %v, want ErrLimit", err)
	}
}

func TestNewRekeyerRefusals(t *testing.T) {
	a := newMadeTrack(1, 8)
	in := mustInit(t, makeInit(a))
	good := key.Change{Old: a.key, New: key.NewContentKey(), NewKID: key.NewKID()}
	for name, spoil := range map[string]func(*key.Change){
		"no old key": func(c *key.Change) { c.Old = key.ContentKey{} },
		"no new key": func(c *key.Change) { c.New = key.ContentKey{} },
		"same key":   func(c *key.Change) { c.New = c.Old },
		"same KID":   func(c *key.Change) { c.NewKID = a.kid },
	} {
		c := good
		spoil(&c)
		if _, err := NewRekeyer(in, key.Changes{a.kid: c}, Options{}); !errors.Is(err, ErrMissingKey) {
			t.Errorf("%s: %v, want ErrMissingKey", name, err)
		}
	}
	if _, err := NewDecrypter(in, map[key.KID]key.ContentKey{a.kid: {}}, Options{}); !errors.Is(err, ErrMissingKey) {
		t.Errorf("an empty key to decrypt with: %v, want ErrMissingKey", err)
	}
}

func TestClearTrack(t *testing.T) {
	a := newMadeTrack(1, 8)
	a.clear = true
	in := mustInit(t, makeInit(a))
	rk, err := NewRekeyer(in, newChanges(map[key.KID]key.ContentKey{key.NewKID(): key.NewContentKey()}), Options{})
	if err != nil || len(in.KIDs()) != 0 || in.Supported() != nil {
		t.Fatalf("%v, %v", in.KIDs(), err)
	}
	src := []byte("anything at all")
	if res, err := rk.Segment(Place{}, src); err != nil || !bytes.Equal(res.Out, src) {
		t.Errorf("%v", err)
	}
}

// TestAllocations: what a pass allocates does not grow with the samples.
func TestAllocations(t *testing.T) {
	for _, tc := range []struct {
		size int
		most float64
	}{{100, 6}, {1000, 6}} {
		a := newMadeTrack(1, 8)
		src := makeSegment(madeTraf{track: a, senc: true, saiz: true, runs: [][]madeSample{madeRun(50, tc.size, 8, 1, nil)}})
		rk, err := NewRekeyer(mustInit(t, makeInit(a)), newChanges(map[key.KID]key.ContentKey{a.kid: a.key}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := testing.AllocsPerRun(20, func() {
			if _, err := rk.Segment(Place{}, src); err != nil {
				t.Fatal(err)
			}
		})
		if got > tc.most {
			t.Errorf("50 samples of %d bytes: %v allocations, want at most %v", tc.size, got, tc.most)
		}
	}
}

// TestEvidenceTolerance: media that breaks its own rules all over is not taken
// for a wrong key; media that breaks them as rarely as chance would, is.
func TestEvidenceTolerance(t *testing.T) {
	unit := func(payload ...byte) []byte { return join(be(4, uint64(len(payload))), payload) }
	h264 := codec{rule: ruleH264, nalSize: 4}
	weigh := func(from int, samples ...[]byte) evidence.Verdict {
		var y tally
		for _, s := range samples {
			y.look(h264, s, []span{{from, len(s)}}, len(s)-from)
		}
		return y.weigh().Verdict()
	}
	good := unit(0x41, 1, 2, 0, 0, 3, 1, 0, 0, 3) // cabac_zero_words at the end are in order
	padded := unit(0x41, 1, 2, 3, 0)
	many := func(n int, b []byte) (out [][]byte) {
		for range n {
			out = append(out, b)
		}
		return out
	}
	for name, tc := range map[string]struct {
		samples [][]byte
		from    int // of the protected range: 4 the NAL header, 5 its payload
		want    evidence.Verdict
	}{
		"good":                {many(50, good), 5, evidence.Undecided},
		"headers too":         {many(50, good), 4, evidence.Right},
		"very many good":      {many(20000, good), 5, evidence.Right},
		"all padded":          {many(50, padded), 5, evidence.Undecided},
		"one ends in zero":    {append(many(50, good), padded), 5, evidence.Wrong},
		"stuffed with zeros":  {append(many(50, good), unit(0x41, 1, 0, 0, 0, 0)), 5, evidence.Undecided},
		"start code":          {append(many(50, good), unit(0x41, 1, 0, 0, 1, 9)), 5, evidence.Wrong},
		"03 before 04":        {append(many(50, good), unit(0x41, 1, 0, 0, 3, 4, 9)), 5, evidence.Wrong},
		"forbidden bit":       {append(many(50, good), unit(0x81, 1, 9)), 4, evidence.Wrong},
		"no rule for lengths": {[][]byte{{0, 0, 0, 99, 1}}, 4, evidence.Undecided},
	} {
		if got := weigh(tc.from, tc.samples...); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
