package cenc

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
)

// at returns b with the bytes some way after the nth box type name replaced.
func at(b []byte, typ string, nth, after int, with ...byte) []byte {
	out := bytes.Clone(b)
	i := 0
	for range nth + 1 {
		j := bytes.Index(out[i:], []byte(typ))
		if j < 0 {
			panic("test: no box " + typ)
		}
		i += j + 4
	}
	copy(out[i-4+after:], with)
	return out
}

// checkError wants class at a box path, with object and reason.
func checkError(t *testing.T, err, class error, path string) {
	t.Helper()
	var e *Error
	if !errors.Is(err, class) || !errors.As(err, &e) {
		t.Fatalf("error is %v, want class %v", err, class)
	}
	if e.Box != path || e.Object == "" || e.Reason == "" {
		t.Errorf("error is %v, want it at %s", err, path)
	}
}

func TestMalformedSegments(t *testing.T) {
	a := newMadeTrack(1, 8)
	subs := [][2]int{{5, 20}, {3, 17}, {0, 55}}
	traf := madeTraf{track: a, senc: true, saiz: true, runs: [][]madeSample{madeRun(3, 100, 8, 1, subs)}}
	good := makeSegment(traf)
	with := func(change func(*madeTraf)) []byte {
		c := traf
		change(&c)
		return makeSegment(c)
	}
	huge := []byte{0xff, 0xff, 0xff, 0xff}
	local := fullBox("sbgp", 0, 0, []byte("seig"), be(4, 1), be(4, 1), be(4, 0x10001))
	groups := fullBox("sbgp", 0, 0, []byte("seig"), be(4, 1), be(4, 1), be(4, 1))
	cut := fullBox("sgpd", 1, 0, []byte("seig"), be(4, 19), be(4, 1), make([]byte, 20))
	constant := join(fullBox("sgpd", 1, 0, []byte("seig"), be(4, 29), be(4, 1), be(2, 0), be(2, 0x100), a.kid[:], be(1, 8), make([]byte, 8)), local)
	for name, tc := range map[string]struct {
		b     []byte
		class error
		box   string
	}{
		"empty":                       {nil, ErrMalformed, "file"},
		"three bytes":                 {[]byte{0, 0, 0}, ErrMalformed, "file"},
		"no moof":                     {boxed("styp", be(4, 0)), ErrMalformed, "file"},
		"moof longer than the object": {at(good, "moof", 0, -4, huge...), ErrMalformed, "file"},
		"64-bit size too large":       {join(be(4, 1), []byte("mdat"), huge, huge), ErrMalformed, "file"},
		"64-bit size cut short":       {join(be(4, 1), []byte("mdat"), be(2, 0)), ErrMalformed, "file"},
		"size below the header":       {at(good, "styp", 0, -4, 0, 0, 0, 7), ErrMalformed, "file"},
		"size 0 inside":               {at(good, "traf", 0, -4, 0, 0, 0, 0), ErrMalformed, "moof"},
		"traf longer than moof":       {at(good, "traf", 0, -4, huge...), ErrMalformed, "moof"},
		"no tfhd":                     {at(good, "tfhd", 0, 0, 'f', 'r', 'e', 'e'), ErrMalformed, "moof/traf"},
		"unknown track":               {at(good, "tfhd", 0, 8, 0, 0, 0, 9), ErrMalformed, "moof/traf/tfhd"},
		"tfhd ends early":             {at(good, "tfhd", 0, 5, 0, 0, 1), ErrMalformed, "moof/traf/tfhd"},
		"trun count":                  {at(good, "trun", 0, 8, huge...), ErrMalformed, "moof/traf/trun"},
		"trun without sizes":          {at(good, "trun", 0, 4, 0, 0, 0, 1, 0, 0, 0, 9), ErrMalformed, "moof/traf/trun"},
		"trun offset past the end":    {at(good, "trun", 0, 12, 0x7f, 0xff, 0xff, 0xff), ErrMalformed, "moof/traf/trun"},
		"trun offset before start":    {at(good, "trun", 0, 12, 0x80, 0, 0, 0), ErrMalformed, "moof/traf/trun"},
		"trun offset into moof":       {at(good, "trun", 0, 12, 0, 0, 0, 0), ErrMalformed, "moof/traf/trun"},
		"sample size":                 {at(good, "trun", 0, 16, huge...), ErrMalformed, "moof/traf/trun"},
		"senc count":                  {at(good, "senc", 0, 8, 0, 0, 0, 2), ErrMalformed, "moof/traf/senc"},
		"senc ends early":             {at(good, "senc", 0, 8+4+8, huge...), ErrMalformed, "moof/traf/saio"},
		"senc overrides":              {at(good, "senc", 0, 7, 3), ErrMalformed, "moof/traf/saio"},
		"subsamples too long":         {at(good, "senc", 0, 8+4+8+2, 0, 6), ErrMalformed, "moof/traf/saio"},
		"saiz count":                  {at(good, "saiz", 0, 9, huge...), ErrMalformed, "moof/traf/saiz"},
		"saiz size":                   {at(good, "saiz", 0, 13, 1), ErrMalformed, "moof/traf/saio"},
		"saiz without saio":           {at(good, "saio", 0, 0, 'f', 'r', 'e', 'e'), ErrMalformed, "moof/traf/saiz"},
		"saio without saiz":           {at(good, "saiz", 0, 0, 'f', 'r', 'e', 'e'), ErrMalformed, "moof/traf"},
		"saio count":                  {at(good, "saio", 0, 8, huge...), ErrMalformed, "moof/traf/saio"},
		"saio past the end":           {at(good, "saio", 0, 12, huge...), ErrMalformed, "moof/traf/saio"},
		"saio elsewhere":              {at(good, "saio", 0, 12, 0, 0, 0, 0), ErrMalformed, "moof/traf/saio"},
		"two senc":                    {with(func(c *madeTraf) { c.extra = fullBox("senc", 0, 0, be(4, 0)) }), ErrMalformed, "moof/traf/senc"},
		"seig of no entry":            {with(func(c *madeTraf) { c.extra = groups }), ErrMalformed, "moof/traf/sbgp"},
		"seig cut short":              {with(func(c *madeTraf) { c.extra = cut }), ErrMalformed, "moof/traf/sgpd"},
		"seig of a constant IV":       {with(func(c *madeTraf) { c.extra = constant }), ErrUnsupported, "moof/traf/sbgp"},
		"pssh in moof":                {at(good, "mfhd", 0, 0, 'p', 's', 's', 'h'), ErrMalformed, "moof/pssh"},
		"moov in a segment":           {at(good, "styp", 0, 0, 'm', 'o', 'o', 'v'), ErrUnsupported, "file"},
		"second traf":                 {at(makeSegment(traf, traf), "tfhd", 1, 8, 0, 0, 0, 9), ErrMalformed, "moof/traf[1]/tfhd"},
	} {
		t.Run(name, func(t *testing.T) {
			rk, err := NewRekeyer(mustInit(t, makeInit(a)), newChanges(map[key.KID]key.ContentKey{a.kid: a.key}), Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = rk.Segment(Place{Object: "segment.m4s"}, tc.b)
			if tc.class == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			checkError(t, err, tc.class, tc.box)
			if !strings.Contains(err.Error(), "segment.m4s") {
				t.Errorf("error does not name the object: %v", err)
			}
			if _, err := rk.Segment(Place{Object: "segment.m4s"}, good); err != nil {
				t.Errorf("the next object fails: %v", err)
			}
		})
	}
}

// TestOverlap: two runs over the same bytes would be decrypted twice.
func TestOverlap(t *testing.T) {
	a := newMadeTrack(1, 8)
	run := madeRun(2, 50, 8, 1, nil)
	b := makeSegment(madeTraf{track: a, senc: true, runs: [][]madeSample{run, madeRun(2, 50, 8, 9, nil)}})
	i := bytes.Index(b, []byte("trun"))
	b = at(b, "trun", 1, 12, b[i+12:i+16]...)
	rk, err := NewRekeyer(mustInit(t, makeInit(a)), newChanges(map[key.KID]key.ContentKey{a.kid: a.key}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = rk.Segment(Place{Object: "segment.m4s"}, b)
	checkError(t, err, ErrMalformed, "file")
}

func TestMalformedInits(t *testing.T) {
	a, b := newMadeTrack(1, 8), newMadeTrack(2, 16)
	good := makeInit(a, b)
	entry := "moov/trak/mdia/minf/stbl/stsd/enca"
	for name, tc := range map[string]struct {
		b           []byte
		class       error
		box         string
		unsupported bool // parses, and Supported says so
	}{
		"empty":               {nil, ErrMalformed, "file", false},
		"no moov":             {boxed("ftyp", be(4, 0)), ErrMalformed, "file", false},
		"moov twice":          {join(good, good), ErrMalformed, "file", false},
		"moov too long":       {at(good, "moov", 0, -4, 0x7f), ErrMalformed, "file", false},
		"no track ID":         {at(good, "tkhd", 0, 16, 0, 0, 0, 0), ErrMalformed, "moov/trak", false},
		"track ID twice":      {at(good, "tkhd", 1, 16, 0, 0, 0, 1), ErrMalformed, "moov/trak[1]", false},
		"no stsd":             {at(good, "stsd", 0, 0, 'f', 'r', 'e', 'e'), ErrMalformed, "moov/trak", false},
		"stsd count":          {at(good, "stsd", 0, 8, 0, 0, 0, 2), ErrMalformed, "moov/trak/mdia/minf/stbl/stsd", false},
		"no sinf":             {at(good, "sinf", 0, 0, 'f', 'r', 'e', 'e'), ErrMalformed, entry, false},
		"no frma":             {at(good, "frma", 0, 0, 'f', 'r', 'e', 'e'), ErrMalformed, entry + "/sinf", false},
		"no tenc":             {at(good, "tenc", 0, 0, 'f', 'r', 'e', 'e'), ErrMalformed, entry + "/sinf", false},
		"tenc cut short":      {at(at(good, "tenc", 0, -4, 0, 0, 0, 8), "tenc", 0, 4, be(4, 24)...), ErrMalformed, entry + "/sinf/schi/tenc", false},
		"IV size":             {at(good, "tenc", 0, 11, 9), ErrUnsupported, entry, true},
		"no constant IV":      {at(good, "tenc", 0, 11, 0), ErrMalformed, entry + "/sinf/schi/tenc", false},
		"pattern":             {at(good, "tenc", 0, 4, 1, 0, 0, 0, 0, 0x19), ErrUnsupported, entry, true},
		"tenc version":        {at(good, "tenc", 0, 4, 2), ErrUnsupported, entry + "/sinf/schi/tenc", true},
		"scheme":              {at(good, "schm", 0, 8, 'a', 'd', 'k', 'm'), ErrUnsupported, entry, true},
		"no schm":             {at(good, "schm", 0, 0, 'f', 'r', 'e', 'e'), ErrUnsupported, entry, true},
		"no mvex":             {at(good, "mvex", 0, 0, 'f', 'r', 'e', 'e'), ErrUnsupported, "file", true},
		"trex cut short":      {at(good, "trex", 1, -4, 0, 0, 0, 12), ErrMalformed, "moov/mvex", false},
		"moof beside moov":    {join(good, boxed("moof")), ErrUnsupported, "file", true},
		"mdat beside moov":    {join(good, boxed("mdat")), ErrUnsupported, "file", true},
		"pssh malformed":      {join(boxed("moov", good[8:], boxed("pssh", make([]byte, 30)))), ErrMalformed, "moov/pssh", false},
		"pssh of version 2":   {join(boxed("moov", good[8:], fullBox("pssh", 2, 0, make([]byte, 20)))), ErrUnsupported, "moov/pssh", true},
		"enca without fields": {at(good, "enca", 0, -4, 0, 0, 0, 12), ErrMalformed, entry, false},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := ParseInit("init.mp4", tc.b)
			if tc.unsupported {
				if err != nil {
					t.Fatal(err)
				}
				err = in.Supported()
			}
			checkError(t, err, tc.class, tc.box)
		})
	}
}

// TestTruncated: no prefix of a file makes the package panic, and none of a
// segment passes for whole unless it ends between boxes.
func TestTruncated(t *testing.T) {
	ch := newChanges(fixtureKeys(t))
	for _, r := range renditions(t, fixtures.Library())[:2] {
		for n := range r.init {
			if in, err := ParseInit("init.mp4", r.init[:n]); err == nil {
				t.Errorf("%d bytes of an init section parse: %v", n, in.Tracks())
			}
		}
		rk, err := NewRekeyer(mustInit(t, r.init), ch, Options{})
		if err != nil {
			t.Fatal(err)
		}
		seg := r.segments[0]
		for n := 0; n < len(seg); n += 1 + n/200 {
			if _, err := rk.Segment(Place{}, seg[:n]); err == nil {
				t.Errorf("%d bytes of a segment of %d pass", n, len(seg))
			}
		}
	}
}
