//go:build conformance

package conformance_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/internal/judge"
	"github.com/seed-6133abe0/rekey/key"
)

// tally counts renditions of protected MP4 by who judged them, those whose clear
// media does not tell the right key from a wrong one, and names what was refused
// for that until the flag said to take it (an asset may have a PlayReady CHECKSUM
// that proves what its media does not).
type tally struct {
	renditions, ours, ffmpeg, mp4ff, clearFile, lengths, undecided int
	unproved                                                       []string
	// hls is what was judged of AES-128 and of SAMPLE-AES outside of MP4.
	hls        judge.Counts
	mpds       int
	mpdChanges judge.Changes
}

func (a *tally) add(b tally) {
	a.renditions += b.renditions
	a.ours += b.ours
	a.ffmpeg += b.ffmpeg
	a.mp4ff += b.mp4ff
	a.clearFile += b.clearFile
	a.lengths += b.lengths
	a.undecided += b.undecided
	a.unproved = append(a.unproved, b.unproved...)
	a.hls.Add(b.hls)
	a.mpds += b.mpds
	a.mpdChanges.Add(b.mpdChanges)
}

func (a *tally) log(t *testing.T, what string) {
	t.Helper()
	t.Logf("%s: %d renditions of protected MP4; clear media right by our decryption %d, by FFmpeg's own %d, by mp4ff's %d, by clear files %d; %d objects kept their length; media that proves no key in %d; %d taken unproved: %s",
		what, a.renditions, a.ours, a.ffmpeg, a.mp4ff, a.clearFile, a.lengths, a.undecided, len(a.unproved), strings.Join(a.unproved, ", "))
}

func TestCorpus(t *testing.T) {
	corpus := os.Getenv("REKEY_CORPUS")
	if corpus == "" {
		t.Fatal("no corpus: make conformance CORPUS=dir")
	}
	folders, err := filepath.Glob(filepath.Join(corpus, "*", "keys.json"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("%s holds no */keys.json: %v", corpus, err)
	}
	bin := filepath.Join(t.TempDir(), "rekey")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../cmd/rekey").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	var passed, failed []string
	var all tally
	for _, keys := range folders {
		folder := filepath.Dir(keys)
		name := filepath.Base(folder)
		ok := t.Run(name, func(t *testing.T) {
			c := &corpusCase{bin: bin, folder: folder, name: name}
			defer func() {
				if c.renditions > 0 {
					c.log(t, name)
				}
				all.add(c.tally)
			}()
			c.run(t)
		})
		if ok {
			passed = append(passed, name)
		} else {
			failed = append(failed, name)
		}
	}
	t.Logf("%d passed: %s", len(passed), strings.Join(passed, " "))
	t.Logf("%d failed: %s", len(failed), strings.Join(failed, " "))
	all.log(t, "in all")
	t.Logf("in all: HLS by segments %+v; %d MPDs, %+v", all.hls, all.mpds, all.mpdChanges)
	if len(passed) == 0 {
		t.Error("nothing passed")
	}
	if all.renditions > 0 && all.ffmpeg == 0 {
		t.Error("FFmpeg decrypted nothing")
	}
}

// corpusCase is one folder of the corpus.
type corpusCase struct {
	tally
	bin, folder, name string
	// root holds the media: enc/, or the folder itself.
	root string
	// list is what is to be judged, as the folder says.
	list []rendition
	// keys are those of keys.json that have a KID; uris name the others.
	keys map[key.KID]key.ContentKey
	uris []string
}

// rendition is something to judge: a file, an init section and its segments, or
// a playlist.
type rendition struct {
	name string
	// init and media name files under the root; media may be a glob, or nothing
	// where init is a whole file.
	init, media string
	// keys are this rendition's own, where the folder lists keys file by file.
	keys map[key.KID]key.ContentKey
	// want is what FFmpeg's streamhash must say; empty where it is not known.
	want []string
	// clear names a file of the clear media, which may be missing.
	clear string
}

// run rekeys what the folder holds, and judges it. Nothing may be refused.
func (c *corpusCase) run(t *testing.T) {
	var err error
	if c.root, err = filepath.EvalSymlinks(filepath.Join(c.folder, "enc")); err != nil {
		c.root, err = filepath.EvalSymlinks(c.folder)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.readKeys(t)
	manifests, protected := c.look(t)
	if protected && !manifests {
		c.loose(t)
		return
	}
	c.asset(t, protected)
}

// look tells whether the folder has manifests, and MP4 that is encrypted as
// such (rather than as a whole, under AES-128).
func (c *corpusCase) look(t *testing.T) (manifests, protected bool) {
	err := filepath.WalkDir(c.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if isManifest(name) {
			manifests = true
			return nil
		}
		b, err := os.ReadFile(name)
		protected = protected || judge.Protected(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return manifests, protected
}

func isManifest(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".mpd" || ext == ".m3u8"
}

// readKeys reads keys.json and clear.streams: either an object that lists keys,
// or a list of files, each with its key.
func (c *corpusCase) readKeys(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(c.folder, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Keys []struct {
			KID string `json:"kid"`
			URI string `json:"uri"`
			Key string `json:"key"`
		} `json:"keys"`
	}
	c.keys = map[key.KID]key.ContentKey{}
	if err := json.Unmarshal(b, &f); err != nil {
		c.readList(t, b)
		return
	}
	for _, k := range f.Keys {
		if k.KID == "" {
			c.uris = append(c.uris, k.URI)
			continue
		}
		addKey(t, c.keys, k.KID, k.Key)
	}
	if len(c.keys)+len(c.uris) == 0 {
		t.Fatal("keys.json lists no keys")
	}
	c.readStreams(t)
}

func addKey(t *testing.T, to map[key.KID]key.ContentKey, kid, hex string) {
	t.Helper()
	id, err := key.ParseKID(kid)
	if err != nil {
		t.Fatal(err)
	}
	if to[id], err = key.ParseContentKey(hex); err != nil {
		t.Fatal(err)
	}
}

// readStreams reads clear.streams, by renditions.
func (c *corpusCase) readStreams(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(c.folder, "clear.streams"))
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for line := range strings.Lines(string(b)) {
		name, hash, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			t.Fatalf("clear.streams: %q", line)
		}
		i, ok := at[name]
		if !ok {
			i, at[name] = len(c.list), len(c.list)
			r := rendition{name: name, keys: c.keys}
			r.init, r.media, _ = strings.Cut(name, "+")
			if r.media != "" {
				r.media = filepath.Join(filepath.Dir(r.init), r.media)
			}
			c.list = append(c.list, r)
		}
		c.list[i].want = append(c.list[i].want, hash)
	}
	if len(c.list) == 0 {
		t.Fatal("clear.streams is empty")
	}
}

// readList reads a keys.json that lists files. Those that are not there are not
// part of the corpus; a list of which nothing is there is a mistake.
func (c *corpusCase) readList(t *testing.T, b []byte) {
	var list []struct {
		File  string   `json:"file"`
		Init  string   `json:"init"`
		Clear string   `json:"clear"`
		Key   string   `json:"key"`
		KID   []string `json:"kid"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatalf("keys.json: %v", err)
	}
	for _, l := range list {
		if _, err := os.Stat(filepath.Join(c.root, l.File)); err != nil {
			continue
		}
		r := rendition{name: l.File, init: l.File, clear: l.Clear, keys: map[key.KID]key.ContentKey{}}
		if l.Init != "" {
			r.init, r.media = l.Init, l.File
		}
		for _, kid := range l.KID {
			addKey(t, r.keys, kid, l.Key)
			addKey(t, c.keys, kid, l.Key)
		}
		c.list = append(c.list, r)
	}
	if len(c.list) == 0 {
		t.Fatal("none of the files that keys.json lists is there")
	}
}
