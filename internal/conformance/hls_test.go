//go:build conformance

package conformance_test

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/internal/judge"
)

// hls is what there is to judge of the asset's playlists. Names in the corpus are
// relative to the folder.
func (a *attempt) hls(t *testing.T) *judge.HLS {
	t.Helper()
	h := &judge.HLS{Before: a.before, After: a.media, Folder: a.name, Entries: a.entries,
		Clear: map[string]string{}, Streams: map[string][]string{}, Packets: map[string][]string{}}
	for name, sum := range a.clearDigests(t) {
		h.Clear[path.Join(a.name, name)] = sum
	}
	for _, r := range a.list {
		h.Streams[path.Join(a.name, r.name)] = r.want
	}
	for name, list := range a.clearPackets(t) {
		h.Packets[path.Join(a.name, name)] = list
	}
	return h
}

func (c *corpusCase) clearDigests(t *testing.T) map[string]string {
	b, err := os.ReadFile(filepath.Join(c.folder, "clear.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(b)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		want[name] = sum
	}
	return want
}

// clearPackets are the lines of clear.frames, by playlist: stream, size, MD5.
func (c *corpusCase) clearPackets(t *testing.T) map[string][]string {
	b, err := os.ReadFile(filepath.Join(c.folder, "clear.frames"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		name, packet, _ := strings.Cut(strings.TrimSpace(line), "\t")
		want[name] = append(want[name], strings.ReplaceAll(packet, "\t", " "))
	}
	return want
}

// judgeHLS compares what the new playlists lead to with the digests, by OpenSSL
// and by FFmpeg over HTTP.
func (a *attempt) judgeHLS(t *testing.T) {
	t.Helper()
	h := a.hls(t)
	h.Judge(t)
	t.Logf("HLS: %+v", h.Counts)
	a.tally.hls.Add(h.Counts)
	switch {
	case h.KeyObjects != len(a.uris):
		t.Errorf("%d keys are new, of %d", h.KeyObjects, len(a.uris))
	case h.Messages+h.Frames == 0:
		t.Error("nothing was compared with its clear bytes")
	case h.Played != len(a.list):
		t.Errorf("FFmpeg played %d playlists of %d", h.Played, len(a.list))
	}
}

// again rotates the new keys, and judges what comes of the media that the first
// rotation wrote.
func (a *attempt) again(t *testing.T) {
	t.Helper()
	a.before = filepath.Join(a.dir, "between")
	judge.CopyTree(t, a.before, a.media)
	args := []string{"compromise", "--wait", "--handover", "none", "--json", "--accept-unproved"}
	for _, uri := range a.uris {
		args = append(args, "--key-uri", path.Join(a.name, "_rekey", a.status.Rotation, uri))
	}
	a.rekey(t, 0, nil, "scan")
	if failure := a.rotate(t, args); failure != "" {
		t.Errorf("the second time: %s", failure)
		return
	}
	a.judgeHLS(t)
}

// diff compares the manifests before and after: nothing but keys, references and
// ranges may differ.
func (a *attempt) diff(t *testing.T) {
	t.Helper()
	if len(a.entries) > 0 {
		h := judge.HLS{Before: a.before, After: a.media, Folder: a.name, Entries: a.entries}
		h.Manifest(t)
		t.Logf("%d playlists, %+v", h.Manifests, h.Changes)
	}
	for name := range maps.Keys(judge.Tree(t, filepath.Join(a.before, a.name))) {
		if path.Ext(name) != ".mpd" {
			continue
		}
		old, err := os.ReadFile(filepath.Join(a.before, a.name, name))
		if err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(filepath.Join(a.media, a.name, name))
		if err != nil {
			t.Fatal(err)
		}
		c, bad, err := judge.DiffMPD(old, after)
		if err != nil {
			t.Error(err)
		}
		for _, d := range bad {
			t.Errorf("%s: %s", name, d)
		}
		if c.URIs == 0 {
			t.Errorf("%s leads to no new media", name)
		}
		t.Logf("%s: %+v", name, c)
		a.mpds++
		a.mpdChanges.Add(c)
	}
}
