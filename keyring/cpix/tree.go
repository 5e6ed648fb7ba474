package cpix

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
)

// Bounds of a document.
const (
	MaxBytes    = 16 << 20
	maxDepth    = 32
	maxElements = 400_000
	maxAttrs    = 64 // of one element
)

// Namespaces, as CPIX 2.3 clause "Hierarchical data model" takes them from RFC
// 6030, XML Signature and XML Encryption.
const (
	nsCPIX   = "urn:dashif:org:cpix"
	nsPSKC   = "urn:ietf:params:xml:ns:keyprov:pskc"
	nsDS     = "http://www.w3.org/2000/09/xmldsig#"
	nsXENC   = "http://www.w3.org/2001/04/xmlenc#"
	nsXENC11 = "http://www.w3.org/2009/xmlenc11#"
)

// node is an element; text is its own character data, without its children's.
type node struct {
	space, local string
	attrs        []xml.Attr
	text         []byte
	children     []*node
	parent       *node
	line         int
}

// reader reads one document.
type reader struct {
	object string
	dec    *xml.Decoder
	count  int
	depth  int
}

// readTree reads the document element. Nothing it was given is in its error.
func readTree(object string, b []byte) (*node, error) {
	r := &reader{object: object, dec: xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))))}
	if len(b) > MaxBytes {
		return nil, r.fail(ErrLimit, fmt.Sprintf("more than %d bytes", MaxBytes))
	}
	var root, open *node
	for {
		tok, err := r.dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			open, root, err = r.token(tok, open, root)
		} else {
			err = r.syntax(err)
		}
		if err != nil {
			root.wipe()
			return nil, err
		}
	}
	if root == nil {
		return nil, r.fail(ErrMalformed, "no element")
	}
	return root, nil
}

// token returns the element that is open after tok, and the document element.
func (r *reader) token(tok xml.Token, open, root *node) (*node, *node, error) {
	switch t := tok.(type) {
	case xml.Directive:
		return open, root, r.fail(ErrUnsupported, "document type declaration")
	case xml.CharData:
		if open != nil {
			open.text = appendWiping(open.text, t)
		} else if len(bytes.TrimSpace(t)) > 0 {
			return open, root, r.fail(ErrMalformed, "text outside the document element")
		}
	case xml.EndElement:
		r.depth--
		return open.parent, root, nil
	case xml.StartElement:
		r.count++
		r.depth++
		switch {
		case open == nil && root != nil:
			return open, root, r.fail(ErrMalformed, "a second document element")
		case r.depth > maxDepth:
			return open, root, r.fail(ErrLimit, fmt.Sprintf("elements nested deeper than %d", maxDepth))
		case r.count > maxElements:
			return open, root, r.fail(ErrLimit, fmt.Sprintf("more than %d elements", maxElements))
		case len(t.Attr) > maxAttrs:
			return open, root, r.fail(ErrLimit, fmt.Sprintf("more than %d attributes", maxAttrs))
		case !once(t.Attr):
			return open, root, r.fail(ErrMalformed, "an attribute twice")
		}
		line, _ := r.dec.InputPos()
		n := &node{space: t.Name.Space, local: t.Name.Local, attrs: t.Attr, parent: open, line: line}
		if open != nil {
			open.children = append(open.children, n)
			return n, root, nil
		}
		return n, n, nil
	}
	return open, root, nil
}

// once reports that no attribute comes twice, which encoding/xml lets pass.
func once(attrs []xml.Attr) bool {
	for i, a := range attrs {
		for _, b := range attrs[:i] {
			if a.Name == b.Name {
				return false
			}
		}
	}
	return true
}

// syntax makes this package's error of the decoder's, which quotes the input.
func (r *reader) syntax(err error) error {
	if _, ok := errors.AsType[*xml.SyntaxError](err); ok {
		return r.fail(ErrMalformed, "not well-formed XML")
	}
	return r.fail(ErrUnsupported, "not XML 1.0 in UTF-8")
}

func (r *reader) fail(class error, reason string) error {
	line, _ := r.dec.InputPos()
	return &Error{Object: r.object, Line: line, Reason: reason, Class: class}
}

// appendWiping is append that leaves no copy behind when it moves.
func appendWiping(to, b []byte) []byte {
	if len(to)+len(b) <= cap(to) {
		return append(to, b...)
	}
	moved := make([]byte, 0, 2*len(to)+len(b))
	moved = append(append(moved, to...), b...)
	clear(to)
	return moved
}

// wipe clears the text of the whole tree: keys are among it.
func (n *node) wipe() {
	if n == nil {
		return
	}
	clear(n.text)
	for _, c := range n.children {
		c.wipe()
	}
}

// all are the children of that name.
func (n *node) all(space, local string) []*node {
	var out []*node
	for _, c := range n.children {
		if c.space == space && c.local == local {
			out = append(out, c)
		}
	}
	return out
}

// attr is the value of an attribute without namespace, and whether it is there.
func (n *node) attr(local string) (string, bool) {
	for _, a := range n.attrs {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value, true
		}
	}
	return "", false
}

// path names the element, numbered where its parent has more of the name.
func (n *node) path() string {
	if n.parent == nil {
		return n.local
	}
	s := n.parent.path() + "/" + n.local
	same := n.parent.all(n.space, n.local)
	for i, c := range same {
		if c == n && len(same) > 1 {
			s += fmt.Sprintf("[%d]", i+1)
		}
	}
	return s
}

// base64 decodes the text as xs:base64Binary, which may hold white space.
func (n *node) base64() ([]byte, bool) {
	return decodeBase64(n.text)
}

func decodeBase64(text []byte) ([]byte, bool) {
	packed := make([]byte, 0, len(text))
	for _, c := range text {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			packed = append(packed, c)
		}
	}
	defer clear(packed)
	out := make([]byte, base64.StdEncoding.DecodedLen(len(packed)))
	k, err := base64.StdEncoding.Strict().Decode(out, packed)
	if err != nil {
		clear(out)
		return nil, false
	}
	return out[:k], true
}

// isFragment reports well-formed XML without a document type declaration; it may
// have any number of elements.
func isFragment(b []byte) bool {
	dec := xml.NewDecoder(bytes.NewReader(b))
	for depth := 0; ; {
		tok, err := dec.Token()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		switch tok.(type) {
		case xml.Directive:
			return false
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
		if depth > maxDepth {
			return false
		}
	}
}
