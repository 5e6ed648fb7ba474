package rotation

import (
	"fmt"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/dash"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// rewrite makes the successor of one manifest: references to what moved, and
// the names of keys that changed. All other bytes stay.
func rewrite(m journal.Move, b []byte, t tree, moves map[string]string, ch key.Changes) ([]byte, error) {
	if m.Kind == catalog.DASH {
		return rewriteMPD(m, b, t, moves, ch)
	}
	return rewritePlaylist(m, b, moves, ch)
}

func rewritePlaylist(m journal.Move, b []byte, moves map[string]string, ch key.Changes) ([]byte, error) {
	p, err := hls.Parse(m.From, b)
	if err != nil {
		return nil, err
	}
	return p.Edit(func(ref hls.Ref) (hls.Replacement, error) {
		if ref.Key != nil && ref.Key.Method != "AES-128" {
			r, _, err := hls.RekeyKeyTag(ref.Key, ch)
			return r, err
		}
		if ref.URI == "" {
			return hls.Replacement{}, nil
		}
		if now := newRef(m.From, m.To, ref.URI, moves); now != ref.URI {
			return hls.Replacement{URI: now}, nil
		}
		return hls.Replacement{}, nil
	})
}

func rewriteMPD(m journal.Move, b []byte, t tree, moves map[string]string, ch key.Changes) ([]byte, error) {
	doc, err := dash.Parse(m.From, b)
	if err != nil {
		return nil, err
	}
	return doc.Edit(dash.Edits{
		Changes: ch,
		Move: func(r *dash.Representation, init bool, ref string) (string, error) {
			refs := r.Media
			switch {
			case init && r.File != "":
				refs = []string{r.File}
			case init:
				refs = []string{r.Init}
			}
			all, err := moved(m.From, refs, moves)
			if err != nil || !all {
				return ref, err
			}
			return t.placeTemplate(m.From, ref)
		},
	})
}

// moved reports whether the objects behind one template move: all or none, a
// template cannot say both.
func moved(from string, refs []string, moves map[string]string) (bool, error) {
	n := 0
	for _, ref := range refs {
		k, err := catalog.Resolve(from, ref)
		if err != nil {
			return false, err
		}
		if _, ok := moves[k]; ok {
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
}

func needsOf(m catalog.Manifest, b []byte) (manifestNeeds, error) {
	if m.Kind == catalog.DASH {
		return mpdNeeds(m.Key, b)
	}
	return playlistNeeds(m.Key, b)
}

func playlistNeeds(k string, b []byte) (manifestNeeds, error) {
	var n manifestNeeds
	p, err := hls.Parse(k, b)
	if err != nil {
		return n, err
	}
	for _, ref := range p.Refs {
		if ref.Key != nil && ref.Key.Method != "AES-128" {
			kids, err := hls.KeyTagKIDs(ref.Key)
			if err != nil {
				return n, err
			}
			n.kids = append(n.kids, kids...)
			continue
		}
		if t, err := catalog.Resolve(k, ref.URI); err == nil {
			n.targets = append(n.targets, t)
		}
	}
	return n, nil
}

func mpdNeeds(k string, b []byte) (manifestNeeds, error) {
	var n manifestNeeds
	m, err := dash.Parse(k, b)
	if err != nil {
		return n, err
	}
	for _, r := range m.Representations {
		n.kids = append(n.kids, r.DefaultKIDs...)
		for _, box := range r.PSSH {
			kids, err := pssh.KIDs(box)
			if err != nil {
				return n, fmt.Errorf("read pssh of Representation %q in %s: %w", r.ID, k, err)
			}
			n.kids = append(n.kids, kids...)
		}
		for _, pro := range r.PRO {
			kids, err := pssh.PROKIDs(pro)
			if err != nil {
				return n, fmt.Errorf("read mspr:pro of Representation %q in %s: %w", r.ID, k, err)
			}
			n.kids = append(n.kids, kids...)
		}
		for _, ref := range append([]string{r.Init, r.File}, r.Media...) {
			if t, err := catalog.Resolve(k, ref); err == nil {
				n.targets = append(n.targets, t)
			}
		}
	}
	return n, nil
}

func (n manifestNeeds) changes(moves map[string]string, kids map[key.KID]bool) bool {
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
