package catalog

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
)

// The classes of references that lead to no object of the media root.
var (
	// ErrOutside: the reference leaves the media root, and nothing says that it
	// may.
	ErrOutside = errors.New("reference leaves the media root")
	// ErrExternal: it leads to a place that Space.External allows.
	ErrExternal = errors.New("reference leads to an allowed place outside the media root")
)

// KIDInTemplate is what a new KID, as 32 hex digits, stands for in the template
// of a key URI.
const KIDInTemplate = "{kid}"

// Space says where references lead: at which URLs the media root is served, and
// which other places manifests may name. The zero value knows neither.
type Space struct {
	origins, external []base
}

// base is an absolute URL that ends in a slash.
type base struct{ scheme, host, path string }

// NewSpace takes the URLs at which the media root is served, and the URL prefixes
// outside it that manifests may name: what stands there is never read and never
// changed. Each is http or https, with a host; a slash at the end may be left
// out.
func NewSpace(origins, external []string) (Space, error) {
	var s Space
	for _, list := range []struct {
		from []string
		to   *[]base
	}{{origins, &s.origins}, {external, &s.external}} {
		for _, text := range list.from {
			b, err := parseBase(text)
			if err != nil {
				return Space{}, err
			}
			*list.to = append(*list.to, b)
		}
	}
	return s, nil
}

func parseBase(text string) (base, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return base{}, fmt.Errorf("URL %q is not http(s)://host/path/", text)
	}
	p := u.EscapedPath()
	if !strings.HasSuffix(p, "/") {
		p += "/"
	}
	return base{strings.ToLower(u.Scheme), strings.ToLower(u.Host), p}, nil
}

// Location is where a reference leads.
type Location struct {
	// Key is the object's.
	Key string
	// Prefix is the part of the reference that names the media root, as it is
	// written; empty for a reference relative to its manifest. Rest is what
	// follows, query and fragment included.
	Prefix, Rest string
}

// Locate follows a reference found in the object from (RFC 3986 §5.2). A query
// or fragment is no part of the key. References to other places are ErrOutside
// or ErrExternal.
func (s Space) Locate(from, ref string) (Location, error) {
	prefix, rest, err := s.Split(ref)
	if err != nil {
		return Location{}, fmt.Errorf("resolve %s: %w", quote(ref), err)
	}
	raw, _ := SplitQuery(rest)
	p, err := url.PathUnescape(raw)
	if err != nil {
		// The parser's error quotes the reference.
		return Location{}, fmt.Errorf("resolve %s: %w: not a URI reference", quote(ref), ErrOutside)
	}
	if p == "" {
		return Location{}, fmt.Errorf("resolve %s: %w: it names no object", quote(ref), ErrOutside)
	}
	dir := ""
	if prefix == "" {
		dir = path.Dir(from)
	}
	k := path.Join(dir, p)
	if k == ".." || strings.HasPrefix(k, "../") || k == "." || strings.HasPrefix(k, "/") {
		return Location{}, fmt.Errorf("resolve %s: %w", quote(ref), ErrOutside)
	}
	return Location{Key: k, Prefix: prefix, Rest: rest}, nil
}

// Resolve is Locate's key.
func (s Space) Resolve(from, ref string) (string, error) {
	l, err := s.Locate(from, ref)
	return l.Key, err
}

// Split cuts off what names the media root; prefix is empty where the reference is
// relative to its manifest. It works on the text alone, so that a template goes
// through it unharmed. ErrOutside, ErrExternal.
func (s Space) Split(ref string) (prefix, rest string, err error) {
	scheme, authority, p := anatomy(ref)
	switch {
	case scheme == "" && authority == "" && !strings.HasPrefix(ref, "/"):
		return "", ref, nil
	case scheme != "" && authority == "":
		return "", "", fmt.Errorf("%w: it names another place", ErrOutside)
	}
	head := len(ref) - len(p)
	origin, external := base{}, base{}
	for _, o := range s.origins {
		if o.serves(scheme, authority, p) && len(o.path) > len(origin.path) {
			origin = o
		}
	}
	for _, x := range s.external {
		if authority != "" && x.serves(scheme, authority, p) && len(x.path) > len(external.path) {
			external = x
		}
	}
	switch { // the one that says more
	case external.path != "" && len(external.path) > len(origin.path):
		return "", "", ErrExternal
	case origin.path != "":
		return ref[:head+len(origin.path)], p[len(origin.path):], nil
	}
	if authority == "" {
		return "", "", fmt.Errorf("%w: an absolute path, and no origin is configured that it is under", ErrOutside)
	}
	return "", "", fmt.Errorf("%w: it names another place, which is neither an origin nor an external place in the configuration", ErrOutside)
}

// serves reports a URL under b. What the reference leaves out is its
// manifest's, and fits any. HTTP and HTTPS lead to the same objects.
func (b base) serves(scheme, authority, p string) bool {
	web := func(s string) bool { return s == "" || s == "http" || s == "https" }
	return (scheme == b.scheme || web(scheme) && web(b.scheme)) &&
		(authority == "" || strings.EqualFold(authority, b.host)) && strings.HasPrefix(p, b.path)
}

// anatomy cuts a reference into scheme, authority and the rest (RFC 3986 §3,
// appendix B), without judging them.
func anatomy(ref string) (scheme, authority, rest string) {
	rest = ref
	if i := strings.IndexAny(rest, ":/?#"); i > 0 && rest[i] == ':' && schemeName(rest[:i]) {
		scheme, rest = strings.ToLower(rest[:i]), rest[i+1:]
	}
	if strings.HasPrefix(rest, "//") {
		authority, rest = rest[2:], ""
		if i := strings.IndexAny(authority, "/?#"); i >= 0 {
			authority, rest = authority[:i], authority[i:]
		}
	}
	return scheme, authority, rest
}

// schemeName reports ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) (RFC 3986 §3.1).
func schemeName(s string) bool {
	for i, c := range []byte(strings.ToLower(s)) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

// Scheme is the reference's scheme in lower case; empty where it has none.
func Scheme(ref string) string {
	s, _, _ := anatomy(ref)
	return s
}

// SplitQuery cuts the query and the fragment off a reference.
func SplitQuery(ref string) (path, tail string) {
	if i := strings.IndexAny(ref, "?#"); i >= 0 {
		return ref[:i], ref[i:]
	}
	return ref, ""
}

// query is the query of a reference, without its question mark.
func query(ref string) string {
	_, tail := SplitQuery(ref)
	tail, _, _ = strings.Cut(tail, "#")
	return strings.TrimPrefix(tail, "?")
}

// Normal spells scheme and host of a URI in lower case (RFC 3986 §6.2.2.1).
func Normal(uri string) string {
	scheme, authority, rest := anatomy(uri)
	if authority == "" {
		return uri
	}
	if scheme != "" {
		scheme += ":"
	}
	return scheme + "//" + strings.ToLower(authority) + rest
}
