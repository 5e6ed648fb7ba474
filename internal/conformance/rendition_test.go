//go:build conformance

package conformance_test

import (
	"bytes"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/internal/judge"
	"github.com/seed-6133abe0/rekey/key"
)

// bytes is the rendition as one file: whole, or the init section and its
// segments one after another.
func (r rendition) bytes(t *testing.T, root string) []byte {
	t.Helper()
	names := []string{filepath.Join(root, r.init)}
	if r.media != "" {
		names = append(names, files(t, filepath.Join(root, r.media))...)
	}
	var all []byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// files are the files of a glob, in the order of their numbers.
func files(t *testing.T, glob string) []string {
	t.Helper()
	names, err := filepath.Glob(glob)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s matches nothing: %v", glob, err)
	}
	slices.SortFunc(names, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return names
}

// judgeMP4 compares a rendition's media before and after with the corpus's
// digests.
func (c *corpusCase) judgeMP4(t *testing.T, r rendition, old, after []byte, newKeys map[key.KID]key.ContentKey) {
	t.Helper()
	c.renditions++
	if len(old) != len(after) {
		t.Errorf("%s: %d bytes became %d", r.name, len(old), len(after))
	}
	was, how := clearForm(t, r.name+" (old)", old, r.keys, cenc.Options{})
	// How this packager reads the clause, only its own IVs may show.
	options := cenc.Options{Readings: how.Readings}
	form, res := clearForm(t, r.name+" (new)", after, newKeys, options)
	if !bytes.Equal(was, form) {
		t.Errorf("%s: old and new media have different clear forms", r.name)
	}
	said := []string{"the media proves the key: " + res.Evidence.Verdict().String()}
	if res.Evidence.Verdict() == evidence.Undecided {
		c.undecided++
	}
	if s := how.Readings.String(); s != "" {
		said = append(said, "read as "+s)
	}
	c.again(t, r.name, after, form, newKeys, options)
	plain := judge.Plain(form)
	if len(r.want) == 0 {
		r.want = c.wanted(t, r, old, plain, &said)
	}
	got, err := judge.FileStreams(t, "", plain)
	if err != nil || !slices.Equal(got, r.want) {
		t.Errorf("%s: our clear media is %q to FFmpeg, want %q (%v)", r.name, got, r.want, err)
	} else {
		c.ours++
		said = append(said, "our decryption is right")
	}
	c.askFFmpeg(t, r, old, after, newKeys, &said)
	t.Logf("%s: %s", r.name, strings.Join(said, "; "))
}

// clearForm is our own decryption. All that is protected must be under ks.
func clearForm(t *testing.T, name string, b []byte, ks map[key.KID]key.ContentKey, o cenc.Options) ([]byte, cenc.FileResult) {
	t.Helper()
	f := open(t, name, b)
	var form bytes.Buffer
	res, err := f.Decrypt(ks, cenc.FileOptions{Options: o, Clear: &form})
	if err != nil {
		t.Fatalf("%s: decrypt: %v", name, err)
	}
	if res.Samples == 0 || len(res.Kept) > 0 {
		t.Errorf("%s: %d samples decrypted, samples of %v not", name, res.Samples, res.Kept)
	}
	for _, found := range res.Findings {
		t.Logf("%s: finding %s from sample %d, %d samples: %s", name, found.Code, found.Sample, found.Count, found.Reason)
	}
	return form.Bytes(), res
}

// again rekeys the new media once more, knowing nothing of the old: keys change
// more than once in an asset's life. A reader who knew the old media must find
// the same clear media in it.
func (c *corpusCase) again(t *testing.T, name string, after, form []byte, ks map[key.KID]key.ContentKey, o cenc.Options) {
	t.Helper()
	changes, next := key.Changes{}, map[key.KID]key.ContentKey{}
	for kid, k := range ks {
		change := key.Change{Old: k, New: key.NewContentKey(), NewKID: key.NewKID()}
		changes[kid], next[change.NewKID] = change, change.New
	}
	var out bytes.Buffer
	if _, err := open(t, name, after).Rekey(&out, cenc.Place{Object: name, IVs: 1 << 48}, changes, cenc.FileOptions{}); err != nil {
		t.Errorf("%s: cannot be rekeyed again: %v", name, err)
		return
	}
	var second bytes.Buffer
	_, err := open(t, name, out.Bytes()).Decrypt(next, cenc.FileOptions{Options: o, Clear: &second})
	if err != nil || !bytes.Equal(second.Bytes(), form) {
		t.Errorf("%s: rekeying it again destroys it: %v", name, err)
	}
}

func open(t *testing.T, name string, b []byte) *cenc.File {
	t.Helper()
	f, err := cenc.OpenFile(name, bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// askFFmpeg has FFmpeg decrypt the new media, if it is a judge of this media at
// all: if it reads the old media, under the old keys, as the corpus says. It
// takes one key, so not where keys change within a track; and it reads several
// subsamples of one sample under cens as one run of the pattern, where Bento4
// begins the pattern anew with each.
func (c *corpusCase) askFFmpeg(t *testing.T, r rendition, old, after []byte, newKeys map[key.KID]key.ContentKey, said *[]string) {
	t.Helper()
	oldHex, oldRolls := keysOf(t, r.name, old, r.keys)
	newHex, newRolls := keysOf(t, r.name, after, newKeys)
	switch {
	case oldRolls || newRolls:
		*said = append(*said, "FFmpeg takes no keys that change")
	case !reads(t, r.want, old, oldHex):
		*said = append(*said, "FFmpeg does not read the old media")
	case !reads(t, r.want, after, newHex):
		t.Errorf("%s: FFmpeg reads the old media with the old key, and not the new with the new", r.name)
	case reads(t, r.want, after, oldHex):
		t.Errorf("%s: FFmpeg reads the new media with the old key", r.name)
	default:
		c.ffmpeg++
		*said = append(*said, "FFmpeg's decryption is right")
	}
}

// keysOf are those keys that the file uses, in hex; rolls tells that there are
// more of them than tracks.
func keysOf(t *testing.T, name string, b []byte, ks map[key.KID]key.ContentKey) (hexes []string, rolls bool) {
	t.Helper()
	f := open(t, name, b)
	kids, _, err := f.KIDs()
	if err != nil {
		t.Fatal(err)
	}
	distinct := map[string]bool{}
	for _, kid := range kids {
		if k, ok := ks[kid]; ok {
			raw := k.RevealSecretBytes()
			distinct[hex.EncodeToString(raw[:])] = true
		}
	}
	return slices.Sorted(maps.Keys(distinct)), len(distinct) > len(f.Init().Tracks())
}

// reads tells whether FFmpeg reads every stream as wanted, under one or another
// of the keys.
func reads(t *testing.T, want []string, b []byte, hexes []string) bool {
	t.Helper()
	var got []string
	for _, k := range hexes {
		// An error may be that of a stream under another key.
		lines, _ := judge.FileStreams(t, k, b)
		got = append(got, lines...)
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			return false
		}
	}
	return len(want) > 0
}

// wanted is the digest of clear media that the corpus has none for: that of what
// mp4ff makes of the old media, or of the clear file. Sample for sample both must
// be what our decryption gives.
func (c *corpusCase) wanted(t *testing.T, r rendition, old, plain []byte, said *[]string) (want []string) {
	t.Helper()
	judged := func(by string, media []byte, count *int) {
		if !bytes.Equal(judge.Payload(media), judge.Payload(plain)) {
			t.Errorf("%s: our clear samples are not those of %s", r.name, by)
			return
		}
		*count++
		*said = append(*said, "samples are those of "+by)
		if lines, err := judge.FileStreams(t, "", media); err == nil && len(want) == 0 {
			want = lines
		}
	}
	hexes, _ := keysOf(t, r.name, old, r.keys)
	if len(hexes) == 1 {
		raw, err := hex.DecodeString(hexes[0])
		if err != nil {
			t.Fatal(err)
		}
		if media, err := judge.MP4FF(old, raw); err != nil {
			*said = append(*said, err.Error())
		} else {
			judged("mp4ff", media, &c.mp4ff)
		}
	}
	if b, err := os.ReadFile(filepath.Join(c.root, r.clear)); err == nil && r.clear != "" {
		judged("the clear file", b, &c.clearFile)
	}
	if len(want) == 0 {
		t.Errorf("%s: no second judge of the clear media: %s", r.name, strings.Join(*said, "; "))
	}
	return want
}
