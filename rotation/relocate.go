package rotation

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/catalog"
)

// tree is where one rotation writes: under base, beside the trees of earlier
// rotations and never inside them.
type tree struct{ base, rotation string }

// place is the key of an object's successor: base/_rekey/<rotation>/ and the
// object's first name relative to base.
func (t tree) place(k string) string {
	rel := strings.TrimPrefix(catalog.Logical(k), t.base)
	return path.Join(t.base, catalog.TreeDir, t.rotation, rel)
}

// placeTemplate does what place does to a DASH URI template, relative to the
// MPD. $…$ identifiers (ISO/IEC 23009-1 §5.3.9.4.4) never span a slash here, so
// the template is moved segment by segment and never decoded.
func (t tree) placeTemplate(space catalog.Space, mpd, template string) (string, error) {
	prefix, rest, err := space.Split(template)
	if err != nil {
		return "", fmt.Errorf("move template %q: %w", template, err)
	}
	dir := encodedDir(mpd)
	if prefix != "" {
		dir = "" // relative to the media root
	}
	ref, query := catalog.SplitQuery(rest)
	parts := withoutTree(strings.Split(path.Clean(dir+ref), "/"))
	var depth int
	if t.base != "" {
		depth = strings.Count(t.base, "/") + 1
	}
	if len(parts) <= depth {
		return "", fmt.Errorf("move template %q: it is not under %q", template, t.base)
	}
	head, err := url.PathUnescape(strings.Join(parts[:depth], "/"))
	if err != nil || head != t.base {
		return "", fmt.Errorf("move template %q: it is not under %q", template, t.base)
	}
	moved := slices.Concat(parts[:depth], []string{catalog.TreeDir, t.rotation}, parts[depth:])
	return prefix + relativeFrom(strings.Split(dir, "/")[:strings.Count(dir, "/")], moved) + query, nil
}

// withoutTree takes out the folder of an earlier rotation, as catalog.Logical
// does of a key.
func withoutTree(parts []string) []string {
	for i := 0; i+2 < len(parts); i++ {
		if parts[i] == catalog.TreeDir {
			return slices.Concat(parts[:i], parts[i+2:])
		}
	}
	return parts
}

func encodedDir(k string) string {
	d := path.Dir(k)
	if d == "." {
		return ""
	}
	return (&url.URL{Path: d}).EscapedPath() + "/"
}

func relativeFrom(dir, to []string) string {
	n := 0
	for n < len(dir) && n < len(to)-1 && dir[n] == to[n] {
		n++
	}
	return strings.Repeat("../", len(dir)-n) + strings.Join(to[n:], "/")
}

// newRef spells a reference of a manifest that moves from one key to another.
// It changes only where the target's place relative to the manifest changes.
func newRef(space catalog.Space, from, to, ref string, moves map[string]string) string {
	at, err := space.Locate(from, ref)
	if err != nil {
		// A reference to another place leads there from anywhere.
		return ref
	}
	moved, ok := moves[at.Key]
	if !ok {
		moved = at.Key
	}
	_, query := catalog.SplitQuery(at.Rest)
	if at.Prefix != "" {
		if !ok || moved == at.Key {
			return ref
		}
		return at.Prefix + catalog.Relative("", moved) + query
	}
	now := catalog.Relative(to, moved)
	if now == catalog.Relative(from, at.Key) {
		return ref
	}
	return now + query
}
