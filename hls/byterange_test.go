package hls

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// shiftRanges moves ranges as bytes would that are put in at this place.
func shiftRanges(at, by int64) func(Ref) (Replacement, error) {
	return func(r Ref) (Replacement, error) {
		if r.Range == nil {
			return Replacement{}, nil
		}
		n := *r.Range
		switch {
		case n.Offset >= at:
			n.Offset += by
		case n.end() >= at:
			n.Length += by
		}
		return Replacement{Range: &n}, nil
	}
}

func TestEditRanges(t *testing.T) {
	text := string(features(t)["aes_ranges.m3u8"])
	for _, tt := range []struct {
		at, by   int64
		old, new []string
	}{
		{1 << 40, 5, nil, nil},
		{840, 100, []string{"0016@832", "4294967296@4294967296"}, []string{"116@832", "4294967296@4294967396"}},
		// The second goes on from the first: its text says nothing of the place.
		{0, 188, []string{"832@0", "0016@832", "4294967296@"}, []string{"832@188", "16@1020", "4294967296@"}},
		{850, 7, []string{" 32\t", "@4294967296"}, []string{" 39\t", "@4294967303"}},
		{8589934593, 1, []string{"BYTERANGE:9\n"}, []string{"BYTERANGE:10\n"}},
	} {
		want := text
		for i := range tt.old {
			want = strings.Replace(want, tt.old[i], tt.new[i], 1)
		}
		if tt.at == 0 {
			want = strings.Replace(want, "@4294967296", "@4294967484", 1)
		}
		out, err := mustParse(t, text).Edit(shiftRanges(tt.at, tt.by))
		if err != nil || string(out) != want {
			t.Errorf("%d bytes at %d: edited to\n%s\nwant\n%s\n%v", tt.by, tt.at, out, want, err)
		}
	}
}

func TestEditRefusesRangesThatDoNotFollow(t *testing.T) {
	text := string(features(t)["aes_ranges.m3u8"])
	var first int
	for _, r := range mustParse(t, text).Refs {
		if r.Role == Segment && first == 0 {
			first = r.Line
		}
	}
	for name, n := range map[string]*ByteRange{
		"longer than what follows it": {832, 17},
		"moved without its follower":  {833, 16},
		"empty":                       {832, 0},
		"negative":                    {-1, 16},
		"overflow":                    {math.MaxInt64, 1},
	} {
		_, err := mustParse(t, text).Edit(func(r Ref) (Replacement, error) {
			if r.Line == first {
				return Replacement{Range: n}, nil
			}
			return Replacement{}, nil
		})
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "byte range") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := mustParse(t, text).Edit(func(Ref) (Replacement, error) { return Replacement{Range: &ByteRange{0, 1}}, nil })
	if !errors.Is(err, ErrMalformed) {
		t.Errorf("range for a key: %v", err)
	}
}

func TestEditQuotedRanges(t *testing.T) {
	text := string(features(t)["lowlatency.m3u8"])
	out, err := mustParse(t, text).Edit(shiftRanges(20001, 188))
	want := strings.NewReplacer(`"23000"`, `"23188"`, "18000@43000", "18000@43188").Replace(text)
	if err != nil || string(out) != want {
		t.Errorf("edited to\n%s%v", out, err)
	}
	text = string(features(t)["variables.m3u8"])
	p := parseSomewhere(t, "v", []byte(text))
	out, err = p.Edit(shiftRanges(100, 8))
	want = strings.NewReplacer(`BYTERANGE="{$range}"`, `BYTERANGE="108@0"`, "20@100", "20@108").Replace(text)
	if err != nil || string(out) != want {
		t.Errorf("edited to\n%s%v", out, err)
	}
}

func TestMalformedRanges(t *testing.T) {
	const part = "#EXT-X-PART:DURATION=1,URI=\"a\",BYTERANGE="
	for text, want := range map[string]string{
		"#EXT-X-BYTERANGE:0@5\n":                                     "line 2, column 18: malformed: EXT-X-BYTERANGE has length zero",
		"#EXT-X-BYTERANGE: 0\n":                                      "line 2, column 19: malformed: EXT-X-BYTERANGE has length zero",
		"#EXT-X-BYTERANGE\n":                                         "is not <n>[@<o>]",
		"#EXT-X-BYTERANGE:+1@0\n":                                    "is not <n>[@<o>]",
		"#EXT-X-BYTERANGE:1@0x1\n":                                   "is not <n>[@<o>]",
		"#EXT-X-BYTERANGE:9223372036854775808@0\n":                   "is not <n>[@<o>]",
		"#EXT-X-BYTERANGE:99999999999999999999999\n":                 "is not <n>[@<o>]",
		"#EXT-X-MAP:URI=\"a\",BYTERANGE=\"0@0\"\n":                   "BYTERANGE of EXT-X-MAP has length zero",
		part + "\"5\"\n":                                             "line 2, column 43: malformed: BYTERANGE of EXT-X-PART has no offset",
		part + "\"5@0\"\n#EXT-X-PART:URI=\"b\"\n" + part + "\"5\"\n": "line 4, column 43: malformed: BYTERANGE of EXT-X-PART has no offset",
		part + "\"9223372036854775807@0\"\n" + part + "\"5\"\n":      "BYTERANGE of EXT-X-PART overflows",
		"#EXT-X-PART:DURATION=1\n":                                   "EXT-X-PART has no URI",
		"#EXT-X-PRELOAD-HINT:TYPE=PART\n":                            "EXT-X-PRELOAD-HINT has no URI",
		"#EXT-X-PRELOAD-HINT:URI=\"a\",BYTERANGE-START=-1\n":         "BYTERANGE-START is not a decimal-integer",
		"#EXT-X-RENDITION-REPORT:LAST-MSN=1\n":                       "EXT-X-RENDITION-REPORT has no URI",
	} {
		_, err := Parse("p", []byte("#EXTM3U\n"+text+"#EXT-X-ENDLIST\n"))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
