package dash

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// protection is one ContentProtection (ISO/IEC 23009-1 §5.8.4.1, ISO/IEC 23001-7
// §11.2).
type protection struct {
	node       *node
	defaultKID *attr // nil: none
	kids       []key.KID
	data       []protectionData
	// source is the element that @ref names (§5.8.4.1.3); nil: none.
	source *protection
	// beside are all of the same parent, itself among them.
	beside []*protection
}

type dataKind int

const (
	dataPSSH dataKind = iota // cenc:pssh
	dataPRO                  // mspr:pro
	dataGUID                 // mspr:kid
)

// protectionData is an element of ContentProtection that names keys, in base64.
type protectionData struct {
	kind     dataKind
	node     *node
	encoding *base64.Encoding
	data     []byte
}

// playReady is the system ID of PlayReady.
const playReady = "9a04f079-9840-4286-ab92-e65be0885f95"

// kindOf tells the elements that name keys. Their namespaces are spelled in
// several ways, so the local name decides; a kid is PlayReady's only, since other
// systems have other byte orders.
func kindOf(p, n *node) (dataKind, bool) {
	switch n.local {
	case "pssh":
		return dataPSSH, true
	case "pro":
		return dataPRO, true
	case "kid":
		theirs := strings.Contains(strings.ToLower(n.space), "playready") ||
			strings.HasSuffix(strings.ToLower(p.value("schemeIdUri")), playReady)
		return dataGUID, theirs
	default:
		return 0, false
	}
}

func isDefaultKID(a attr) bool { return strings.EqualFold(a.local, "default_KID") }

// readProtections reads every ContentProtection, wherever it stands.
func (r *reader) readProtections() error {
	var err error
	r.root.walk(func(n *node) {
		switch {
		case err != nil || n.local != "ContentProtection" || n.space != r.root.space || n.parent == nil:
		case n.parent.local == n.local:
			r.refuse(n.start, "ContentProtection in a ContentProtection")
		default:
			err = r.protection(n)
		}
	})
	if err == nil {
		r.follow()
	}
	for _, p := range r.protections {
		p.beside = r.byParent[p.node.parent]
	}
	return err
}

func (r *reader) protection(n *node) error {
	p := &protection{node: n}
	for i, a := range n.attrs {
		if !isDefaultKID(a) {
			continue
		}
		if p.defaultKID != nil {
			return r.fail(ErrMalformed, a.at.start, "two default_KID attributes")
		}
		p.defaultKID = &n.attrs[i]
		// A list of KIDs (ISO/IEC 23001-7 §11.2).
		for _, f := range strings.Fields(a.value) {
			kid, err := key.ParseKID(f)
			if err != nil {
				return r.fail(ErrMalformed, a.at.start, "default_KID: %v", err)
			}
			p.kids = append(p.kids, kid)
		}
		if len(p.kids) > MaxProtections {
			return r.fail(ErrLimit, a.at.start, "default_KID has more than %d KIDs", MaxProtections)
		}
	}
	var err error
	n.walk(func(c *node) {
		if kind, ok := kindOf(n, c); ok && err == nil && len(c.text) > 0 {
			err = r.protectionData(p, kind, c)
		}
	})
	if err != nil {
		return err
	}
	r.protections = append(r.protections, p)
	if r.byParent[n.parent] = append(r.byParent[n.parent], p); len(r.byParent[n.parent]) > MaxProtections {
		return r.fail(ErrLimit, n.start, "%s has more than %d ContentProtection elements", n.parent.local, MaxProtections)
	}
	return nil
}

func (r *reader) protectionData(p *protection, kind dataKind, n *node) error {
	text := strings.Join(strings.Fields(string(n.text)), "")
	d := protectionData{kind: kind, node: n, encoding: base64.StdEncoding}
	if len(text)%4 != 0 {
		d.encoding = base64.RawStdEncoding
	}
	var err error
	if d.data, err = d.encoding.DecodeString(text); err != nil {
		return r.fail(ErrMalformed, n.start, "%s is not base64", n.local)
	}
	if kind == dataGUID && len(d.data) != 16 {
		return r.fail(ErrMalformed, n.start, "kid has %d bytes, want 16", len(d.data))
	}
	if p.data = append(p.data, d); len(p.data) > MaxProtections {
		return r.fail(ErrLimit, n.start, "ContentProtection has more than %d pieces of protection data", MaxProtections)
	}
	return nil
}

// protect sets what the ContentProtections in force say, those of the
// SubRepresentations and those of the Preselections. It returns how many there are.
func (r *Representation) protect(ps, under, joint []*protection) int {
	var level *node
	for _, p := range slices.Backward(ps) {
		if kids := p.allKIDs(); len(kids) > 0 && (level == nil || level == p.node.parent) {
			level = p.node.parent
			r.addKIDs(kids)
		}
	}
	for _, p := range under {
		r.addKIDs(p.allKIDs())
	}
	if len(r.DefaultKIDs) == 0 {
		// Which of several is this AdaptationSet's is not said.
		for _, p := range joint {
			r.addKIDs(p.allKIDs())
		}
		if len(r.DefaultKIDs) > 1 {
			r.DefaultKIDs = nil
		}
	}
	for _, p := range slices.Concat(ps, under, joint) {
		for _, d := range p.allData() {
			switch d.kind {
			case dataPSSH:
				r.PSSH = append(r.PSSH, d.data)
			case dataPRO:
				r.PRO = append(r.PRO, d.data)
			case dataGUID:
			}
		}
	}
	return len(ps) + len(under) + len(joint) + len(r.PSSH) + len(r.PRO)
}

func (r *Representation) addKIDs(kids []key.KID) {
	for _, kid := range kids {
		if !slices.Contains(r.DefaultKIDs, kid) {
			r.DefaultKIDs = append(r.DefaultKIDs, kid)
		}
	}
}

// named lists the KIDs that an element of a ContentProtection names.
func (d protectionData) named() []key.KID {
	var kids []key.KID
	switch d.kind {
	case dataPSSH:
		kids, _ = pssh.KIDs(d.data)
	case dataPRO:
		kids, _ = pssh.PROKIDs(d.data)
	case dataGUID:
		kids = []key.KID{key.KIDFromGUID([16]byte(d.data))}
	}
	return kids
}

// names lists the KIDs that a ContentProtection names itself.
func (p *protection) names() []key.KID {
	kids := slices.Clone(p.kids)
	for _, d := range p.data {
		kids = append(kids, d.named()...)
	}
	return append(kids, p.marlin()...)
}
