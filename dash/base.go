package dash

import "strings"

// MaxBases is of ways through the BaseURLs, where one element has several.
const MaxBases = 64

// chain is one way through the BaseURLs from the MPD inwards (ISO/IEC 23009-1
// §5.6.4).
type chain struct {
	base string
	url  baseURL
}

// baseURL is the innermost BaseURL that is not empty, and what it is relative to.
// The zero value is none.
type baseURL struct {
	node       *node
	outer, ref string
}

func (u baseURL) target() string { return join(u.outer, u.ref) }

// through follows the BaseURLs of n: each is relative to every one outside it
// (§5.6.4), and the first of all is the one that a client takes first (§5.6.5).
func (r *reader) through(outer []chain, n *node) ([]chain, error) {
	urls := n.named("BaseURL")
	if len(urls) == 0 {
		return outer, nil
	}
	if len(urls)*len(outer) > MaxBases {
		return nil, r.fail(ErrLimit, urls[0].start, "more than %d ways through the BaseURLs", MaxBases)
	}
	var in []chain
	for _, u := range urls {
		ref := strings.TrimSpace(string(u.text))
		if head, _, _ := anatomy(ref); strings.HasSuffix(head, ":") {
			r.refuse(u.start, "BaseURL with a scheme and no server")
		}
		for _, o := range outer {
			c := chain{base: joinBase(o.base, ref), url: baseURL{node: u, outer: o.base, ref: ref}}
			if ref == "" { // RFC 3986 §5.2.2: the URL outside it
				c.url = o.url
			}
			if len(c.base) > MaxReference || len(ref) > MaxReference {
				return nil, r.fail(ErrLimit, u.start, "BaseURLs are longer than %d bytes", MaxReference)
			}
			in = append(in, c)
		}
	}
	return in, nil
}

// refuseDollars refuses a $ in what a template is joined with: a template that
// moves may take that into itself, where it would mean something else.
func (r *reader) refuseDollars(rep *Representation) {
	for _, c := range rep.chains {
		if strings.Contains(c.base, "$") {
			r.refuse(c.url.node.start, "BaseURL with $ around a SegmentTemplate")
		}
	}
}
