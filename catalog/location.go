package catalog

import (
	"net/url"
	"path"
	"strconv"
	"strings"
)

// TreeDir is the folder under which a rotation writes. It has no leading dot:
// web servers and CDNs hide dot paths.
const TreeDir = "_rekey"

// quote spells a reference for people, without the payload of a data: URI,
// which may be a key.
func quote(ref string) string {
	if len(ref) >= 5 && strings.EqualFold(ref[:5], "data:") {
		return "data: URI"
	}
	if path, tail := SplitQuery(ref); tail != "" {
		ref = path + "?…" // a query may be a token
	}
	const most = 200
	if len(ref) > most {
		ref = strings.ToValidUTF8(ref[:most], "") + "…"
	}
	return strconv.Quote(ref)
}

// Relative spells the reference from the object from to the object to.
func Relative(from, to string) string {
	dir := segments(path.Dir(from))
	dst := segments(to)
	n := 0
	for n < len(dir) && n < len(dst)-1 && dir[n] == dst[n] {
		n++
	}
	var out []string
	for range dir[n:] {
		out = append(out, "..")
	}
	for _, s := range dst[n:] {
		out = append(out, (&url.URL{Path: s}).EscapedPath())
	}
	rel := strings.Join(out, "/")
	// RFC 3986 §4.2: a colon in the first segment would read as a scheme.
	if strings.Contains(out[0], ":") {
		rel = "./" + rel
	}
	return rel
}

func segments(p string) []string {
	if p == "." || p == "" {
		return nil
	}
	return strings.Split(p, "/")
}

// Logical is the key that an object had before any rotation moved it: key
// without its TreeDir/<rotation> pair.
func Logical(k string) string {
	parts := segments(k)
	for i := 0; i+2 < len(parts); i++ {
		if parts[i] == TreeDir {
			return path.Join(path.Join(parts[:i]...), path.Join(parts[i+2:]...))
		}
	}
	return k
}

// InTree reports whether a rotation wrote the object.
func InTree(k string) bool { return Logical(k) != k }

// TreeOf is the rotation that wrote the object; empty for an original.
func TreeOf(k string) string {
	parts := segments(k)
	for i := 0; i+2 < len(parts); i++ {
		if parts[i] == TreeDir {
			return parts[i+1]
		}
	}
	return ""
}

// CommonDir is the deepest folder that holds every one of the keys, as a path
// without a trailing slash; empty for the root.
func CommonDir(keys ...string) string {
	if len(keys) == 0 {
		return ""
	}
	common := segments(path.Dir(keys[0]))
	for _, k := range keys[1:] {
		d := segments(path.Dir(k))
		n := 0
		for n < len(common) && n < len(d) && common[n] == d[n] {
			n++
		}
		common = common[:n]
	}
	return path.Join(common...)
}
