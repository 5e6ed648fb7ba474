package judge

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tag reads a tag, as far as it says what a playlist leads to.
func (r *reader) tag(line int, text string) (err error) {
	name, value, _ := strings.Cut(text, ":")
	a := attributes(value)
	switch name {
	case "#EXT-X-MEDIA-SEQUENCE":
		r.sequence, err = strconv.ParseUint(value, 10, 64)
	case "#EXT-X-DEFINE":
		r.define(a)
	case "#EXT-X-BYTERANGE":
		var p piece
		p, err = ranged(value)
		r.next = &p
	case "#EXT-X-GAP":
		r.gap = true
	case "#EXT-X-STREAM-INF":
		r.child = true
	case "#EXT-X-MEDIA", "#EXT-X-I-FRAME-STREAM-INF", "#EXT-X-IMAGE-STREAM-INF":
		if a["URI"] != "" {
			return r.leads(line, a["URI"])
		}
	case "#EXT-X-KEY":
		return r.keyTag(line, a)
	case "#EXT-X-MAP":
		return r.object(line, a, piece{init: true})
	case "#EXT-X-PART":
		return r.object(line, a, piece{part: true})
	default:
		if a["URI"] != "" {
			_, _, err = r.resolve(line, a["URI"])
		}
	}
	return err
}

func attributes(s string) map[string]string {
	a := map[string]string{}
	for _, m := range attribute.FindAllStringSubmatch(s, -1) {
		a[m[1]] = strings.Trim(m[2], "\" \t")
	}
	return a
}

func (r *reader) define(a map[string]string) {
	switch {
	case a["NAME"] != "":
		r.vars[a["NAME"]] = a["VALUE"]
	case a["IMPORT"] != "":
		r.vars[a["IMPORT"]] = r.imported[a["IMPORT"]]
	case a["QUERYPARAM"] != "":
		r.vars[a["QUERYPARAM"]] = r.query.Get(a["QUERYPARAM"])
	}
}

func (r *reader) leads(line int, ref string) error {
	object, query, err := r.resolve(line, ref)
	r.children = append(r.children, child{object, query})
	return err
}

// keyTag takes the key that a player without a key system uses.
func (r *reader) keyTag(line int, a map[string]string) error {
	object := ""
	if uri := a["URI"]; uri != "" && !strings.HasPrefix(uri, "data:") && !strings.HasPrefix(uri, "skd:") {
		var err error
		if object, _, err = r.resolve(line, uri); err != nil {
			return err
		}
	}
	if f := a["KEYFORMAT"]; f != "" && f != "identity" {
		r.systems = true
		return nil
	}
	r.method, r.keyObject, r.iv = a["METHOD"], object, nil
	if r.method == "NONE" {
		r.method = ""
	}
	if iv := a["IV"]; iv != "" {
		b, err := hex.DecodeString(iv[2:])
		if err != nil || len(b) != 16 {
			return fmt.Errorf("IV %s", iv)
		}
		r.iv = (*[16]byte)(b)
	}
	return nil
}

// object reads a tag that leads to media.
func (r *reader) object(line int, a map[string]string, p piece) error {
	if s := a["BYTERANGE"]; s != "" {
		of, err := ranged(s)
		if err != nil {
			return err
		}
		p.ranged, p.offset, p.length = true, of.offset, of.length
		if p.init && p.offset < 0 {
			p.offset = 0
		}
	}
	var err error
	if p.object, _, err = r.resolve(line, a["URI"]); err != nil {
		return err
	}
	p.line = line + 1
	r.under(&p)
	if p.init && p.ranged {
		// It does not say where the segments go on.
		r.pieces = append(r.pieces, p)
		return nil
	}
	r.add(p)
	return nil
}

// closure reads all playlists that the entries lead to, by their logical names.
func closure(root string, entries []string) (map[string]*playlist, error) {
	all := map[string]*playlist{}
	for _, e := range entries {
		if err := follow(root, child{key: e}, nil, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func follow(root string, c child, vars map[string]string, all map[string]*playlist) error {
	if _, ok := all[Logical(c.key)]; ok {
		return nil
	}
	p, err := readPlaylist(root, c.key, vars, c.query)
	if err != nil {
		return err
	}
	all[Logical(c.key)] = p
	for _, next := range p.children {
		if err := follow(root, next, p.vars, all); err != nil {
			return err
		}
	}
	return nil
}

// entries are the playlists below a folder that no other of them leads to.
func entries(root, below string) ([]string, error) {
	var keys []string
	led := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(root, below), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".m3u8" {
			return err
		}
		key, err := filepath.Rel(root, name)
		keys = append(keys, filepath.ToSlash(key))
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		// What is imported is not known before the entries are.
		children, err := childrenOf(root, k)
		if err != nil {
			return nil, err
		}
		for _, c := range children {
			led[c.key] = true
		}
	}
	var list []string
	for _, k := range keys {
		if !led[k] {
			list = append(list, k)
		}
	}
	return list, nil
}

// childrenOf is what a multivariant playlist leads to; nothing of a media
// playlist.
func childrenOf(root, key string) ([]child, error) {
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(key)))
	if err != nil || strings.Contains(string(b), "#EXTINF") {
		return nil, err
	}
	p, err := readPlaylist(root, key, nil, nil)
	if err != nil {
		return nil, err
	}
	return p.children, nil
}
