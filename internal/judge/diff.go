package judge

import (
	"fmt"
	"slices"
	"strings"
)

// Difference is a place where a manifest differs from what it was in more than a
// new key and new places of objects account for.
type Difference struct {
	Line     int
	Old, New string
}

func (d Difference) String() string {
	return fmt.Sprintf("line %d: %.200q became %.200q", d.Line, d.Old, d.New)
}

// Changes counts what a new key may change in a manifest.
type Changes struct{ Keys, URIs, Ranges int }

// Add adds up.
func (c *Changes) Add(d Changes) {
	c.Keys += d.Keys
	c.URIs += d.URIs
	c.Ranges += d.Ranges
}

// diffPlaylists compares two versions of a playlist line by line. Only these may
// differ: the URI and KEYID of key tags; URIs, where they lead to what they led to;
// byte ranges.
func diffPlaylists(old, after *playlist) (c Changes, bad []Difference) {
	if len(old.lines) != len(after.lines) {
		return c, []Difference{{1, fmt.Sprint(len(old.lines), " lines"), fmt.Sprint(len(after.lines), " lines")}}
	}
	for i, was := range old.lines {
		is := after.lines[i]
		if was == is {
			continue
		}
		name, _, _ := strings.Cut(was, ":")
		ok := false
		switch {
		case name == "#EXT-X-KEY" || name == "#EXT-X-SESSION-KEY":
			ok = sameBut(was, is, "URI", "KEYID")
			c.Keys++
		case name == "#EXT-X-BYTERANGE":
			ok = ends(was) == ends(is) && strings.HasPrefix(is, name+":")
			c.Ranges++
		case strings.HasPrefix(was, "#EXT"):
			ok = sameBut(was, is, "URI", "BYTERANGE", "BYTERANGE-START", "BYTERANGE-LENGTH") &&
				slices.Equal(old.targets[i], after.targets[i])
			if attributes(was)["URI"] != attributes(is)["URI"] {
				c.URIs++
			} else {
				c.Ranges++
			}
		default:
			ok = !strings.HasPrefix(was, "#") && ends(was) == ends(is) &&
				len(old.targets[i]) > 0 && slices.Equal(old.targets[i], after.targets[i])
			c.URIs++
		}
		if !ok {
			bad = append(bad, Difference{i + 1, was, is})
		}
	}
	return c, bad
}

// sameBut tells whether two tags are the same but for the values of some
// attributes, by bytes.
func sameBut(was, is string, may ...string) bool {
	masked := func(s string) string {
		return attribute.ReplaceAllStringFunc(s, func(a string) string {
			name, value, _ := strings.Cut(a, "=")
			if !slices.Contains(may, strings.TrimSpace(name)) {
				return a
			}
			v := strings.TrimLeft(value, " \t")
			quote := ""
			if strings.HasPrefix(v, `"`) {
				quote = `"`
			}
			return name + "=" + value[:len(value)-len(v)] + quote + "…" + ends(v)
		})
	}
	return masked(was) == masked(is)
}

// ends are the blanks and the line end behind a line's text.
func ends(s string) string { return s[len(strings.TrimRight(s, " \t\r\n")):] }
