package judge

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// HLS is a media root before and after a rotation of every key of its HLS assets,
// and what is known of their clear media. All names are logical ones.
type HLS struct {
	Before, After string
	// Folder is that of the asset below them, and Entries its entry playlists,
	// the same before and after.
	Folder  string
	Entries []string
	// Clear is the SHA-256 of what a message decrypts to, by its object or by
	// object@offset+length; or that of all messages of an object, one after
	// another, by the object.
	Clear map[string]string
	// Streams are FFmpeg's streamhash lines of a clear media playlist, and
	// Packets its packets, each as "stream size MD5".
	Streams map[string][]string
	Packets map[string][]string
	Counts
	old, after map[string]*playlist
	seen       map[string]bool // of Clear
}

// Counts is how much was judged.
type Counts struct {
	// Messages were decrypted by OpenSSL and are the clear bytes, of which
	// Ranged are sub-ranges and Inits init sections; the old key opens none of
	// them. Views are sub-ranges of I-frame playlists under AES-128.
	Messages, Ranged, Inits, Views int
	// Unencrypted are segments that stand in the clear as they should.
	Unencrypted int
	KeyObjects  int // that are new
	// Played are playlists that FFmpeg plays to the clear digests over HTTP, under
	// SAMPLE-AES not with the old key; Entered those multivariant ones that play
	// as before. Joined are those it plays neither before nor after but whose
	// messages, decrypted by OpenSSL and put together, it reads.
	Played, Entered int
	Joined          []string
	// Frames are SAMPLE-AES packets that are the clear ones, IFrames ranges that
	// lead to an I frame.
	Frames, IFrames int
	// Manifests are playlists that differ in nothing but Changes.
	Manifests int
	Changes
}

// Add adds up.
func (c *Counts) Add(d Counts) {
	c.Messages += d.Messages
	c.Ranged += d.Ranged
	c.Inits += d.Inits
	c.Views += d.Views
	c.Unencrypted += d.Unencrypted
	c.KeyObjects += d.KeyObjects
	c.Played += d.Played
	c.Entered += d.Entered
	c.Joined = append(c.Joined, d.Joined...)
	c.Frames += d.Frames
	c.IFrames += d.IFrames
	c.Manifests += d.Manifests
	c.Changes.Add(d.Changes)
}

// Entries are the playlists below a folder of a media root that no other leads to.
func Entries(t testing.TB, root, below string) []string {
	t.Helper()
	list, err := entries(root, below)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Judge compares all that the entries lead to.
func (h *HLS) Judge(t testing.TB) {
	t.Helper()
	if !h.Manifest(t) {
		return
	}
	h.messages(t)
	h.keys(t)
	h.originals(t)
	h.play(t)
}

// Manifest compares the playlists alone. It fails where the entries lead to other
// playlists than before.
func (h *HLS) Manifest(t testing.TB) bool {
	t.Helper()
	var err error
	if h.old, err = closure(h.Before, h.Entries); err != nil {
		t.Errorf("before: %v", err)
		return false
	}
	if h.after, err = closure(h.After, h.Entries); err != nil {
		t.Errorf("after: %v", err)
		return false
	}
	names := slices.Sorted(maps.Keys(h.old))
	if !slices.Equal(names, slices.Sorted(maps.Keys(h.after))) {
		t.Errorf("entries lead to %q, led to %q", slices.Sorted(maps.Keys(h.after)), names)
		return false
	}
	ok := true
	for _, name := range names {
		old, after := h.old[name], h.after[name]
		c, bad := diffPlaylists(old, after)
		for _, d := range bad {
			t.Errorf("%s: %s", name, d)
		}
		if len(old.pieces) != len(after.pieces) {
			t.Errorf("%s lists %d pieces, listed %d", name, len(after.pieces), len(old.pieces))
			ok = false
			continue
		}
		h.Changes.Add(c)
		h.Manifests++
	}
	return ok
}

// encrypted tells AES-128, and SAMPLE-AES where no MP4 has it.
func (p piece) encrypted() bool {
	return p.method == "AES-128" || p.method == "SAMPLE-AES" && path.Ext(p.object) != ".mp4" && path.Ext(p.object) != ".m4s"
}

// messages has OpenSSL decrypt every message, under the key and IV that its
// playlist names, and compares it with its digest. The old key must not.
func (h *HLS) messages(t testing.TB) {
	t.Helper()
	h.seen = map[string]bool{}
	samples := map[string]bool{}
	joined := map[string]map[int64][]byte{}
	for _, name := range slices.Sorted(maps.Keys(h.after)) {
		for i, p := range h.after[name].pieces {
			// Under AES-128 no length changes: nor may a range.
			if old := h.old[name].pieces[i]; p.method != "SAMPLE-AES" && (old.offset != p.offset || old.length != p.length) {
				t.Errorf("%s: %s was %s", name, p, old)
			}
			switch {
			case p.part || p.method != "" && p.method != "AES-128":
				samples[Logical(p.object)] = true
			case p.view && p.method != "":
				h.view(t, p)
			default:
				if b := h.message(t, h.old[name].pieces[i], p); b != nil {
					object := Logical(p.object)
					if joined[object] == nil {
						joined[object] = map[int64][]byte{}
					}
					joined[object][p.offset] = b
				}
			}
		}
	}
	for object, parts := range joined {
		if _, ok := h.Clear[object]; !ok {
			continue
		}
		h.seen[object] = true
		var all []byte
		for _, at := range slices.Sorted(maps.Keys(parts)) {
			all = append(all, parts[at]...)
		}
		if digest(all) != h.Clear[object] {
			t.Errorf("%s decrypts to something else, in %d messages", object, len(parts))
		}
	}
	for name := range h.Clear {
		object, _, _ := strings.Cut(name, "@")
		if !h.seen[name] && !samples[object] {
			t.Errorf("no playlist leads to %s", name)
		}
	}
}

// message is the clear bytes of a message; nil where it cannot be right.
func (h *HLS) message(t testing.TB, old, p piece) []byte {
	t.Helper()
	b, err := p.open(t, h.After)
	if err != nil {
		t.Errorf("%s: %v", p, err)
		return nil
	}
	logical := p
	logical.object = Logical(p.object)
	whole, known := h.Clear[logical.object]
	h.seen[logical.String()] = true
	if want, ok := h.Clear[logical.String()]; ok && want != digest(b) {
		t.Errorf("%s decrypts to something else", p)
		return nil
	} else if !ok && !known {
		t.Errorf("%s: nothing is known of its clear bytes (%s)", p, whole)
	}
	if p.method == "" {
		h.Unencrypted++
		return b
	}
	h.Messages++
	if p.ranged {
		h.Ranged++
	}
	if p.init {
		h.Inits++
	}
	if old.key == p.key || old.object == p.object {
		t.Errorf("%s under %s: it was %s under %s", p, p.key, old, old.key)
	}
	if h.opens(t, old, p, b) {
		t.Errorf("the old key opens %s", p)
	}
	return b
}

// opens tells whether the old key makes the same of the new object: by the
// standard library, for there is no need of another program to see it fail.
func (h *HLS) opens(t testing.TB, old, p piece, clear []byte) bool {
	t.Helper()
	k, err := keyBytes(h.Before, old.key)
	if err != nil {
		t.Errorf("old key: %v", err)
		return false
	}
	stored, err := p.bytes(h.After)
	if err != nil {
		t.Error(err)
		return false
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		t.Error(err)
		return false
	}
	cipher.NewCBCDecrypter(block, old.iv[:]).CryptBlocks(stored, stored)
	return bytes.HasPrefix(stored, clear)
}

// view compares a sub-range of an I-frame playlist with the same range of the
// clear message that it lies in.
func (h *HLS) view(t testing.TB, p piece) {
	t.Helper()
	m, ok := holder(h.after, p)
	if !ok || m.key != p.key {
		t.Errorf("%s is no part of a message under %s", p, p.key)
		return
	}
	clear, err := m.open(t, h.After)
	if err != nil {
		t.Errorf("%s: %v", m, err)
		return
	}
	got, err := p.openView(t, h.After, m)
	from := p.offset - m.offset
	if err != nil || from+p.length > int64(len(clear)) || !bytes.Equal(got, clear[from:from+p.length]) {
		t.Errorf("%s is not its clear bytes: %v", p, err)
		return
	}
	h.Views++
}

// keys wants for each key object that was named another one of 16 other bytes,
// in the new tree.
func (h *HLS) keys(t testing.TB) {
	t.Helper()
	seen := map[string]string{}
	for name, list := range h.after {
		for i, p := range list.pieces {
			was := h.old[name].pieces[i].key
			if !p.encrypted() || seen[was] == p.key {
				continue
			}
			if seen[was] != "" {
				t.Errorf("%s became %s and %s", was, seen[was], p.key)
			}
			seen[was] = p.key
			old, err := keyBytes(h.Before, was)
			fresh, err2 := keyBytes(h.After, p.key)
			if err := cmp.Or(err, err2); err != nil {
				t.Error(err)
				continue
			}
			if bytes.Equal(old, fresh) || !treeDir.MatchString(p.key) || treeDir.FindString(p.key) == treeDir.FindString(was) {
				t.Errorf("%s became %s: no new key in a new tree", was, p.key)
			}
			h.KeyObjects++
		}
	}
}

// originals wants everything that was there before, but for entry manifests, to
// be there unchanged: who holds an old manifest plays on.
func (h *HLS) originals(t testing.TB) {
	t.Helper()
	after := Tree(t, filepath.Join(h.After, h.Folder))
	for name, sum := range Tree(t, filepath.Join(h.Before, h.Folder)) {
		if after[name] == sum || path.Ext(name) == ".mpd" {
			continue
		}
		if !slices.Contains(h.Entries, path.Join(h.Folder, name)) {
			t.Errorf("%s changed", name)
		}
	}
}

// join is the media of a playlist as one file, its AES-128 messages decrypted by
// OpenSSL. With parts it takes those instead of the segments.
func (h *HLS) join(t testing.TB, p *playlist, parts bool) ([]byte, error) {
	t.Helper()
	var all []byte
	var init piece
	for _, x := range p.pieces {
		if !x.init && x.part != parts || x.init && x.String() == init.String() {
			continue
		}
		if x.init {
			init = x
		}
		var b []byte
		var err error
		if m, ok := holder(h.after, x); x.view && x.method != "" && ok {
			b, err = x.openView(t, h.After, m)
		} else {
			b, err = x.open(t, h.After)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return all, nil
}

// CENC has FFmpeg decrypt a rendition of protected MP4, from its playlist's
// segments and from its parts.
func (h *HLS) CENC(t testing.TB, name, keyHex string) {
	t.Helper()
	for _, parts := range []bool{false, true} {
		all, err := h.join(t, h.after[name], parts)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := FileStreams(t, keyHex, all); err != nil || !slices.Equal(got, h.Streams[name]) {
			t.Errorf("%s decrypts to %q, want %q: %v (by parts: %t)", name, got, h.Streams[name], err, parts)
		}
	}
}

// CopyTree copies a folder, such as a media root as it was before a rotation.
func CopyTree(t testing.TB, to, from string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
