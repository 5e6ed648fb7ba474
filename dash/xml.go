package dash

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits on an MPD: a larger one gives ErrLimit.
const (
	MaxBytes    = 64 << 20
	MaxDepth    = 64
	MaxElements = 1_000_000
	// MaxAttributes of one element, and namespace bindings in force at once.
	MaxAttributes = 256
)

type span struct{ start, end int }

// node is one element and where it stands in the text.
type node struct {
	parent        *node
	prefix, local string
	space         string // namespace name
	attrs         []attr
	children      []*node
	runs          []span // its own character data, CDATA marks left out
	text          []byte // the same with entities resolved; empty if only blanks

	start, nameEnd, openEnd int // <start name nameEnd … openEnd>
	closeStart, end         int // closeStart</name>end; both openEnd of <name/>
}

func (n *node) selfClosing() bool { return n.closeStart == n.openEnd && n.end == n.openEnd }

// attr is one attribute. Its span leaves the quotes out.
type attr struct {
	prefix, local string
	space         string
	value         string // entities resolved
	at            span
	quote         byte
}

// attribute returns the attribute without namespace of that name.
func (n *node) attribute(local string) *attr {
	for i := range n.attrs {
		if n.attrs[i].local == local && n.attrs[i].prefix == "" {
			return &n.attrs[i]
		}
	}
	return nil
}

func (n *node) value(local string) string {
	if a := n.attribute(local); a != nil {
		return a.value
	}
	return ""
}

// named returns the children of that name in n's own namespace.
func (n *node) named(local string) []*node {
	var out []*node
	for _, c := range n.children {
		if c.local == local && c.space == n.space {
			out = append(out, c)
		}
	}
	return out
}

// walk calls fn for n and all elements in it, in order.
func (n *node) walk(fn func(*node)) {
	fn(n)
	for _, c := range n.children {
		c.walk(fn)
	}
}

// builder makes the tree. encoding/xml finds the tokens; where they stand is
// taken from the text.
type builder struct {
	source
	root, open *node
	depth      int
	elements   int
	scopes     []binding // namespace bindings in force, innermost last
	marks      []int     // len(scopes) outside each open element
}

type binding struct{ prefix, name string }

// parseXML reads the text as one element tree (XML 1.0, Namespaces in XML 1.0).
func parseXML(src source) (*node, error) {
	if len(src.raw) > MaxBytes {
		return nil, src.fail(ErrLimit, 0, "MPD has %d bytes, at most %d are read", len(src.raw), MaxBytes)
	}
	if err := src.judgeEncoding(); err != nil {
		return nil, err
	}
	b := &builder{source: src, scopes: []binding{{"xml", "http://www.w3.org/XML/1998/namespace"}}}
	d := xml.NewDecoder(bytes.NewReader(src.raw))
	d.CharsetReader = asciiOnly
	for {
		start := int(d.InputOffset())
		tok, err := d.RawToken()
		end := int(d.InputOffset())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, b.syntax(err, end)
		}
		if err := b.token(tok, start, end); err != nil {
			return nil, err
		}
	}
	switch {
	case b.open != nil:
		return nil, b.fail(ErrMalformed, len(src.raw), "element %s has no end", b.open.local)
	case b.root == nil:
		return nil, b.fail(ErrMalformed, 0, "no root element")
	}
	return b.root, nil
}

// judgeEncoding refuses what XML 1.0 appendix F.1 tells from the first bytes.
func (s source) judgeEncoding() error {
	for _, e := range []struct{ start, name string }{
		{"\x00\x00\xfe\xff", "UTF-32"}, {"\xff\xfe\x00\x00", "UTF-32"}, {"\x00\x00\x00<", "UTF-32"}, {"<\x00\x00\x00", "UTF-32"},
		{"\xfe\xff", "UTF-16"}, {"\xff\xfe", "UTF-16"}, {"\x00<", "UTF-16"}, {"<\x00", "UTF-16"}, {"\x4c\x6f\xa7\x94", "EBCDIC"},
	} {
		if bytes.HasPrefix(s.raw, []byte(e.start)) {
			return s.fail(ErrUnsupported, 0, "MPD in %s: only UTF-8 is read", e.name)
		}
	}
	return nil
}

var errEncoding = errors.New("only UTF-8 is read")

// asciiOnly takes the one declared encoding whose text is UTF-8 as well.
func asciiOnly(label string, in io.Reader) (io.Reader, error) {
	if strings.EqualFold(label, "us-ascii") || strings.EqualFold(label, "ascii") {
		return in, nil
	}
	return nil, fmt.Errorf("MPD in %q: %w", label, errEncoding)
}

func (b *builder) syntax(err error, offset int) error {
	var se *xml.SyntaxError
	if errors.As(err, &se) {
		return b.fail(ErrMalformed, offset, "%s", se.Msg)
	}
	// What is left: an XML version or an encoding that is not read.
	return b.fail(ErrUnsupported, offset, "%v", err)
}

func (b *builder) token(tok xml.Token, start, end int) error {
	switch t := tok.(type) {
	case xml.StartElement:
		return b.startElement(t, start, end)
	case xml.EndElement:
		return b.endElement(t, start, end)
	case xml.CharData:
		return b.charData(t, start, end)
	case xml.Directive:
		return b.fail(ErrUnsupported, start, "document type declaration: entities are not expanded")
	default: // comments and processing instructions are kept and say nothing
		return nil
	}
}

func (b *builder) startElement(t xml.StartElement, start, end int) error {
	b.depth++
	b.elements++
	switch {
	case b.depth > MaxDepth:
		return b.fail(ErrLimit, start, "elements are nested deeper than %d", MaxDepth)
	case b.elements > MaxElements:
		return b.fail(ErrLimit, start, "more than %d elements", MaxElements)
	case len(t.Attr) > MaxAttributes || len(b.scopes) > MaxAttributes:
		return b.fail(ErrLimit, start, "more than %d attributes or namespace bindings", MaxAttributes)
	case b.open == nil && b.root != nil:
		return b.fail(ErrMalformed, start, "second root element")
	}
	n := &node{parent: b.open, prefix: t.Name.Space, local: t.Name.Local, start: start, openEnd: end, closeStart: end, end: end}
	if err := b.attributes(n, t.Attr); err != nil {
		return err
	}
	b.marks = append(b.marks, len(b.scopes))
	for _, a := range n.attrs {
		switch {
		case a.prefix == "xmlns":
			b.scopes = append(b.scopes, binding{a.local, a.value})
		case a.prefix == "" && a.local == "xmlns":
			b.scopes = append(b.scopes, binding{"", a.value})
		}
	}
	if err := b.resolve(n); err != nil {
		return err
	}
	if b.open == nil {
		b.root = n
	} else {
		b.open.children = append(b.open.children, n)
	}
	b.open = n
	return nil
}

// resolve puts namespace names to the prefixes.
func (b *builder) resolve(n *node) error {
	var ok bool
	if n.space, ok = b.lookup(n.prefix); !ok {
		return b.fail(ErrMalformed, n.start, "namespace prefix %q is not bound", n.prefix)
	}
	for i := range n.attrs {
		a := &n.attrs[i]
		if a.prefix == "" || a.prefix == "xmlns" {
			continue
		}
		if a.space, ok = b.lookup(a.prefix); !ok {
			return b.fail(ErrMalformed, a.at.start, "namespace prefix %q is not bound", a.prefix)
		}
	}
	return nil
}

func (b *builder) lookup(prefix string) (string, bool) {
	for i := len(b.scopes) - 1; i >= 0; i-- {
		if b.scopes[i].prefix == prefix {
			return b.scopes[i].name, true
		}
	}
	return "", prefix == ""
}

func (b *builder) endElement(t xml.EndElement, start, end int) error {
	n := b.open
	if n == nil || n.prefix != t.Name.Space || n.local != t.Name.Local {
		return b.fail(ErrMalformed, start, "end tag %s does not match", qualified(t.Name))
	}
	if start != end { // else <name/>, for which encoding/xml makes an end of no bytes
		n.closeStart, n.end = start, end
	}
	b.depth--
	b.scopes = b.scopes[:b.marks[len(b.marks)-1]]
	b.marks = b.marks[:len(b.marks)-1]
	b.open = n.parent
	return nil
}

func (b *builder) charData(t xml.CharData, start, end int) error {
	if b.open == nil {
		if start == 0 {
			t = bytes.TrimPrefix(t, []byte("\uFEFF"))
		}
		if len(bytes.TrimSpace(t)) > 0 {
			return b.fail(ErrMalformed, start, "text outside the root element")
		}
		return nil
	}
	if len(bytes.TrimSpace(t)) == 0 && len(b.open.text) == 0 {
		return nil
	}
	const open, shut = "<![CDATA[", "]]>"
	if bytes.HasPrefix(b.raw[start:end], []byte(open)) {
		start, end = start+len(open), end-len(shut)
	}
	b.open.runs = append(b.open.runs, span{start, end})
	b.open.text = append(b.open.text, t...)
	return nil
}

func qualified(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

// attributes finds where the attributes that encoding/xml read stand.
func (b *builder) attributes(n *node, as []xml.Attr) error {
	lost := func(at int) error {
		return b.fail(ErrMalformed, at, "start tag %s is not read as its text says", n.local)
	}
	i := n.start + 1
	for i < n.openEnd && !isBlank(b.raw[i]) && b.raw[i] != '/' && b.raw[i] != '>' {
		i++
	}
	n.nameEnd = i
	n.attrs = make([]attr, len(as))
	for k, a := range as {
		i = skipBlanks(b.raw, i, n.openEnd)
		name := qualified(a.Name)
		if !bytes.HasPrefix(b.raw[i:n.openEnd], []byte(name)) {
			return lost(i)
		}
		i = skipBlanks(b.raw, i+len(name), n.openEnd)
		if i >= n.openEnd || b.raw[i] != '=' {
			return lost(i)
		}
		i = skipBlanks(b.raw, i+1, n.openEnd)
		if i >= n.openEnd || (b.raw[i] != '"' && b.raw[i] != '\'') {
			return lost(i)
		}
		quote := b.raw[i]
		length := bytes.IndexByte(b.raw[i+1:n.openEnd], quote)
		if length < 0 {
			return lost(i)
		}
		n.attrs[k] = attr{prefix: a.Name.Space, local: a.Name.Local, value: a.Value, at: span{i + 1, i + 1 + length}, quote: quote}
		i += length + 2
		for _, o := range n.attrs[:k] {
			if o.prefix == a.Name.Space && o.local == a.Name.Local {
				return b.fail(ErrMalformed, n.attrs[k].at.start, "attribute %s appears twice", name)
			}
		}
	}
	if rest := string(bytes.TrimSpace(b.raw[i:n.openEnd])); rest != ">" && rest != "/>" {
		return lost(i)
	}
	return nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func skipBlanks(b []byte, i, end int) int {
	for i < end && isBlank(b[i]) {
		i++
	}
	return i
}
