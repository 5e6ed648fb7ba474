package rotation

import (
	"fmt"
	"maps"
	"slices"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/dash"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
)

// rewriter makes the successors of manifests: references to what moved, the
// names of keys that changed, and byte ranges behind what grew. All other bytes
// stay.
type rewriter struct {
	space   catalog.Space
	tree    tree
	moves   map[string]string
	keyURIs map[string]string
	changes key.Changes
	// grown says, by the old key, where objects are longer than they were; nil
	// before they are written.
	grown map[string][]journal.Growth
}

func (rw rewriter) rewrite(m journal.Move, b []byte) ([]byte, error) {
	if m.Kind == catalog.DASH {
		return rw.rewriteMPD(m, b)
	}
	return rw.rewritePlaylist(m, b)
}

func (rw rewriter) rewritePlaylist(m journal.Move, b []byte) ([]byte, error) {
	p, err := hls.ParseWith(m.From, b, m.Context.HLS())
	if err != nil {
		return nil, err
	}
	return p.Edit(func(ref hls.Ref) (hls.Replacement, error) {
		if ref.Key != nil {
			return rw.keyTag(m, ref)
		}
		if ref.URI == "" {
			return hls.Replacement{}, nil
		}
		return hls.Replacement{URI: rw.moved(m, ref), Range: rw.shifted(m, ref)}, nil
	})
}

// keyTag names the new key: by the URI that leads to it, or as the key system
// wants it.
func (rw rewriter) keyTag(m journal.Move, ref hls.Ref) (hls.Replacement, error) {
	uri, outside := rw.keyURIs[ref.Key.URI]
	if !outside && !ref.Key.LeadsToKey() {
		out, _, err := hls.RekeyKeyTag(ref.Key, rw.changes)
		return out, err
	}
	id, err := hls.RekeyKeyID(ref.Key, rw.changes)
	if err != nil {
		return hls.Replacement{}, err
	}
	if !outside {
		uri = rw.moved(m, ref)
	}
	return hls.Replacement{URI: uri, KeyID: id}, nil
}

// oldDRMData says where the successor of a manifest keeps DRM data that it had,
// although a key service gave new data of that system.
func (rw rewriter) oldDRMData(m journal.Move, old []byte) (findings []string, err error) {
	if !slices.ContainsFunc(slices.Collect(maps.Values(rw.changes)), func(c key.Change) bool { return len(c.PSSH) > 0 }) {
		return nil, nil
	}
	say := func(reason string) {
		findings = append(findings, fmt.Sprintf("%s: %s: %s", m.From, cenc.FindingOldDRM, reason))
	}
	if m.Kind == catalog.DASH {
		doc, err := dash.Parse(m.From, old)
		if err != nil {
			return nil, err
		}
		reasons, err := doc.OldDRMData(rw.changes)
		for _, r := range reasons {
			say(r)
		}
		return findings, err
	}
	p, err := hls.ParseWith(m.From, old, m.Context.HLS())
	if err != nil {
		return nil, err
	}
	for _, ref := range p.Refs {
		if ref.Key == nil {
			continue
		}
		reason, err := hls.OldDRMData(ref.Key, rw.changes)
		if err != nil {
			return nil, err
		}
		if reason != "" {
			say(fmt.Sprintf("line %d: %s", ref.Line, reason))
		}
	}
	return findings, nil
}

// moved is the reference's new text, its variables filled in; empty where it stays.
func (rw rewriter) moved(m journal.Move, ref hls.Ref) string {
	now := newRef(rw.space, m.From, m.To, ref.Target, rw.moves)
	if now == ref.Target {
		return ""
	}
	return now
}

// shifted is where a sub-range lies in the new object; nil where it lies where it
// did.
func (rw rewriter) shifted(m journal.Move, ref hls.Ref) *hls.ByteRange {
	if ref.Range == nil {
		return nil
	}
	k, err := rw.space.Resolve(m.From, ref.Target)
	if err != nil || len(rw.grown[k]) == 0 {
		return nil
	}
	return shift(*ref.Range, rw.grown[k])
}

// shift moves the ends of a range by what was inserted up to them: an insertion
// follows the packets that it belongs to.
func shift(b hls.ByteRange, grown []journal.Growth) *hls.ByteRange {
	first, end := b.Offset, b.Offset+b.Length
	now := hls.ByteRange{Offset: first, Length: b.Length}
	for _, g := range grown {
		if g.At <= first {
			now.Offset += g.By
		} else if g.At <= end {
			now.Length += g.By
		}
	}
	return &now
}

func (rw rewriter) rewriteMPD(m journal.Move, b []byte) ([]byte, error) {
	doc, err := dash.Parse(m.From, b)
	if err != nil {
		return nil, err
	}
	return doc.Edit(dash.Edits{
		Changes: rw.changes,
		Move: func(r *dash.Representation, init bool, ref string) (string, error) {
			refs := r.Media
			switch {
			case init && r.File != "":
				refs = []string{r.File}
			case init:
				refs = []string{r.Init}
			}
			all, err := rw.allMoved(m.From, refs)
			if err != nil || !all {
				return ref, err
			}
			return rw.tree.placeTemplate(rw.space, m.From, ref)
		},
	})
}

// allMoved reports whether the objects behind one template move: all or none, a
// template cannot say both.
func (rw rewriter) allMoved(from string, refs []string) (bool, error) {
	n := 0
	for _, ref := range refs {
		k, err := rw.space.Resolve(from, ref)
		if err != nil {
			return false, err
		}
		if _, ok := rw.moves[k]; ok {
			n++
		}
	}
	if n != 0 && n != len(refs) {
		return false, fmt.Errorf("rewrite %s: %d of %d objects behind one template move", from, n, len(refs))
	}
	return n > 0, nil
}

// manifestNeeds collects what a manifest leads to and which KIDs it names.
type manifestNeeds struct {
	targets []string
	kids    []key.KID
	keyURIs []string
}

func (e *Engine) needsOf(m catalog.Manifest, b []byte) (manifestNeeds, error) {
	if m.Kind == catalog.DASH {
		return mpdNeeds(e.Space, m.Key, b)
	}
	return playlistNeeds(e.Space, m, b)
}

func playlistNeeds(space catalog.Space, m catalog.Manifest, b []byte) (manifestNeeds, error) {
	var n manifestNeeds
	p, err := hls.ParseWith(m.Key, b, m.Context.HLS())
	if err != nil {
		return n, err
	}
	for _, ref := range p.Refs {
		if ref.Key != nil {
			n.keyURIs = append(n.keyURIs, ref.Key.URI)
			kids, err := hls.KeyTagKIDs(ref.Key)
			if err != nil {
				return n, err
			}
			n.kids = append(n.kids, kids...)
			if !ref.Key.LeadsToKey() {
				continue
			}
		}
		if t, err := space.Resolve(m.Key, ref.Target); err == nil {
			n.targets = append(n.targets, t)
		}
	}
	return n, nil
}

func mpdNeeds(space catalog.Space, k string, b []byte) (manifestNeeds, error) {
	var n manifestNeeds
	m, err := dash.Parse(k, b)
	if err != nil {
		return n, err
	}
	n.kids = m.KIDs()
	for _, r := range m.Representations {
		for _, ref := range append([]string{r.Init, r.File}, r.Media...) {
			if t, err := space.Resolve(k, ref); err == nil {
				n.targets = append(n.targets, t)
			}
		}
	}
	return n, nil
}

func (n manifestNeeds) changes(moves map[string]string, kids map[key.KID]bool, uris map[string]string) bool {
	for _, u := range n.keyURIs {
		if _, ok := uris[u]; ok {
			return true
		}
	}
	for _, t := range n.targets {
		if _, ok := moves[t]; ok {
			return true
		}
	}
	for _, k := range n.kids {
		if kids[k] {
			return true
		}
	}
	return false
}
