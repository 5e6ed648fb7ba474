package catalog

import (
	"github.com/seed-6133abe0/rekey/dash"
	"github.com/seed-6133abe0/rekey/hls"
)

// reacher maps manifests to what they name. A manifest that cannot be read names
// nothing here; Walk says why.
type reacher struct {
	space Space
	out   map[string][]string
	// contexts are of the media playlists that multivariant ones lead to.
	contexts map[string]Context
	// waiting are playlists that take variables from the one that leads to them.
	waiting []waiting
}

type waiting struct {
	key  string
	body []byte
}

func (g *reacher) read(k string, b []byte) {
	if isMPD(k) {
		g.out[k] = g.mpd(k, b)
		return
	}
	p, err := hls.ParseWith(k, b, hls.Context{AnyQuery: true})
	if err != nil || p.Contextual() {
		g.waiting = append(g.waiting, waiting{k, b})
	}
	g.out[k] = nil
	if err == nil {
		g.out[k] = g.playlist(k, p)
	}
}

// again reads what waits with the variables of the playlists that lead there.
func (g *reacher) again() {
	for _, w := range g.waiting {
		c, ok := g.contexts[w.key]
		if !ok {
			continue
		}
		if p, err := hls.ParseWith(w.key, w.body, c.HLS()); err == nil {
			g.out[w.key] = g.playlist(w.key, p)
		}
	}
}

func (g *reacher) mpd(k string, b []byte) (out []string) {
	m, err := dash.Parse(k, b)
	if err != nil {
		return nil
	}
	for _, rep := range m.Representations {
		for _, ref := range append([]string{rep.Init, rep.File}, rep.Media...) {
			out = g.add(out, k, ref)
		}
	}
	return out
}

func (g *reacher) playlist(k string, p *hls.Playlist) (out []string) {
	for _, ref := range p.Refs {
		switch ref.Role {
		case hls.Variant, hls.Rendition, hls.IFrame, hls.Image:
			if child, err := g.space.Resolve(k, ref.Target); err == nil {
				g.contexts[child] = childContext(p, ref)
			}
			out = g.add(out, k, ref.Target)
		case hls.Segment, hls.Map, hls.Part:
			out = g.add(out, k, ref.Target)
		default:
		}
	}
	return out
}

func (g *reacher) add(out []string, from, ref string) []string {
	if t, err := g.space.Resolve(from, ref); ref != "" && err == nil && t != from {
		out = append(out, t)
	}
	return out
}
