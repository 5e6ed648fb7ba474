package judge

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
)

// The text of elements, and the attributes, that may differ between two versions
// of an MPD: key ids, protection system data, and references. Nothing else is
// moved by a new key.
var (
	mpdTexts = []string{"pssh", "pro", "kid", "BaseURL"}
	mpdKeys  = []string{"pssh", "pro", "kid", "default_KID"}

	mpdAttribute = regexp.MustCompile(`((?:[A-Za-z_][\w.-]*:)?(default_KID|media|initialization|sourceURL))(\s*=\s*)("[^"]*"|'[^']*')`)
)

// token is a part of an MPD as it was written, and with what may differ taken out.
type token struct {
	line        int
	raw, masked string
	what        []string // of what was taken out
}

// DiffMPD compares two versions of an MPD token by token, byte by byte. Only
// default_KID, the text of pssh, pro and kid, and references may differ.
func DiffMPD(old, after []byte) (c Changes, bad []Difference, err error) {
	was, err := tokens(old)
	if err != nil {
		return c, nil, fmt.Errorf("old MPD: %w", err)
	}
	is, err := tokens(after)
	if err != nil {
		return c, nil, fmt.Errorf("new MPD: %w", err)
	}
	for i := range min(len(was), len(is)) {
		if was[i].masked != is[i].masked {
			// What comes behind another number of tokens says nothing.
			return c, append(bad, Difference{was[i].line, was[i].raw, is[i].raw}), nil
		}
		if was[i].raw == is[i].raw {
			continue
		}
		for _, w := range was[i].what {
			if slices.Contains(mpdKeys, w) {
				c.Keys++
			} else {
				c.URIs++
			}
		}
	}
	if len(was) != len(is) {
		bad = append(bad, Difference{0, fmt.Sprint(len(was), " tokens"), fmt.Sprint(len(is), " tokens")})
	}
	return c, bad, nil
}

func tokens(b []byte) (list []token, err error) {
	d := xml.NewDecoder(bytes.NewReader(b))
	inside := "" // the innermost element
	for {
		from := d.InputOffset()
		tok, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		raw := string(b[from:d.InputOffset()])
		t := token{line: 1 + bytes.Count(b[:from], []byte("\n")), raw: raw, masked: raw}
		switch x := tok.(type) {
		case xml.StartElement:
			inside = x.Name.Local
			t.masked = mpdAttribute.ReplaceAllString(raw, "$1$3…")
			for _, m := range mpdAttribute.FindAllStringSubmatch(raw, -1) {
				t.what = append(t.what, m[2])
			}
		case xml.EndElement:
			inside = ""
		case xml.CharData:
			if slices.Contains(mpdTexts, inside) {
				t.masked, t.what = "…", []string{inside}
			}
		}
		list = append(list, t)
	}
}
