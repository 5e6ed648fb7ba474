package cenc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// TestNewDRMDataInMoof: fragments keep their length. What is shorter gets a free
// box behind it, and old and new have one clear form.
func TestNewDRMDataInMoof(t *testing.T) {
	a := newMadeTrack(1, 8)
	old, now, bare := []byte(nil), key.NewKID(), key.Changes{}
	old = widevineOf(a.kid, "a content id of the packager")
	src := makeSegmentWith(a, old)
	in := mustInit(t, makeInit(a))
	for name, tc := range map[string]struct {
		fresh []byte
		want  []byte
	}{
		"same":    {widevineOf(now, "a content id of the keysmith"), widevineOf(now, "a content id of the keysmith")},
		"shorter": {widevineOf(now, "a content"), join(widevineOf(now, "a content"), boxed("free", make([]byte, 11)))},
		"longer":  {widevineOf(now, "a content id of the key service"), nil},
	} {
		c := key.Change{Old: a.key, New: key.NewContentKey(), NewKID: now}
		bare[a.kid] = c
		c.PSSH = [][]byte{tc.fresh}
		ch := key.Changes{a.kid: c}
		res := rekeySegment(t, in, ch, src)
		if len(res.Out) != len(src) || tc.want != nil && !bytes.Contains(res.Out, tc.want) {
			t.Errorf("%s: %d bytes became %x", name, len(src), res.Out)
		}
		found := slices.ContainsFunc(res.Findings, func(f Finding) bool { return f.Code == FindingOldDRM && f.Count == 1 })
		if found != (tc.want == nil) {
			t.Errorf("%s: findings %+v", name, res.Findings)
		}
		clear, out := bytes.Clone(res.Clear), bytes.Clone(res.Out)
		for side, x := range map[string]struct {
			b    []byte
			keys map[key.KID]key.ContentKey
		}{"old": {src, map[key.KID]key.ContentKey{a.kid: a.key}}, "new": {out, newKeys(ch)}} {
			sec := in
			if side == "new" {
				b, err := in.Rekey(nil, ch)
				if err != nil {
					t.Fatal(err)
				}
				sec = mustInit(t, b)
			}
			d, err := NewDecrypter(sec, x.keys, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if again, err := d.Segment(side, x.b); err != nil || !bytes.Equal(again.Clear, clear) {
				t.Errorf("%s: the clear form of the %s object is another (%v)", name, side, err)
			}
		}
		if plain := rekeySegment(t, in, bare, src); tc.want == nil && !bytes.Equal(plain.Out, out) {
			t.Errorf("%s: not what changes without data give", name)
		}
	}
}

// makeSegmentWith is a segment with a box in moof, behind all that saio points at.
func makeSegmentWith(a madeTrack, more []byte) []byte {
	b := makeSegment(madeTraf{track: a, senc: true, saiz: true, runs: [][]madeSample{madeRun(3, 100, 8, 1, nil)}})
	moof := bytes.Index(b, []byte("moof")) - 4
	end := moof + int(binary.BigEndian.Uint32(b[moof:]))
	out := slices.Insert(b, end, more...)
	binary.BigEndian.PutUint32(out[moof:], uint32(end-moof+len(more)))
	trun := bytes.Index(out, []byte("trun")) + 12 // version and flags, count
	binary.BigEndian.PutUint32(out[trun:], binary.BigEndian.Uint32(out[trun:])+uint32(len(more)))
	return out
}

// TestNewDRMDataInFiles: Shaka Packager's single files and rotated keys, whole:
// the length and the clear form stay, mp4ff reads the boxes, FFmpeg the media.
func TestNewDRMDataInFiles(t *testing.T) {
	seen := 0
	for _, m := range packagerMedia(t) {
		if m.refuse != "" || m.keys == nil || !strings.HasPrefix(m.name, "shaka-cenc-file") && !strings.HasPrefix(m.name, "shaka-cenc-rotate-file") {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			seen++
			ch := newChanges(m.keys)
			for kid, c := range ch {
				// As long as what stands there.
				c.PSSH = [][]byte{widevineOf(c.NewKID, "note"), playReadyOf(t, c.NewKID, c.New, "")}
				ch[kid] = c
			}
			out, clear, res, err := rekeyFile(m.name, m.file, ch)
			if err != nil || len(out) != len(m.file) {
				t.Fatalf("%d bytes became %d: %v", len(m.file), len(out), err)
			}
			if again, _ := decryptFile(t, m.name, out, newKeys(ch)); !bytes.Equal(again, clear) {
				t.Error("the new file has another clear form")
			}
			if before, _ := decryptFile(t, m.name, m.file, m.keys); !bytes.Equal(before, clear) {
				t.Error("the old file has another clear form")
			}
			f, err := mp4.DecodeFile(bytes.NewReader(out), mp4.WithDecodeMode(mp4.DecModeLazyMdat))
			if err != nil {
				t.Fatal(err)
			}
			boxes := f.Moov.Psshs
			for _, s := range f.Segments {
				for _, frag := range s.Fragments {
					if frag.Moof != nil {
						boxes = append(boxes, frag.Moof.Psshs...)
					}
				}
			}
			got := map[string]int{}
			for _, b := range boxes {
				for _, c := range ch {
					for _, want := range c.PSSH {
						if bytes.Equal(encode(t, b), want) {
							got[pssh.SystemName([16]byte(b.SystemID))]++
						}
					}
				}
			}
			rotated := strings.Contains(m.name, "rotate")
			if rotated && got["widevine"] == 0 || !rotated && got["playready"] == 0 {
				t.Errorf("mp4ff finds new boxes of %v; findings %+v", got, res.Findings)
			}
			if rotated {
				return // FFmpeg takes one key
			}
			kid := mustOpen(t, m.name, m.file).Init().KIDs()[0]
			if got := streamhash(t, out, ch[kid].New); got == "" || got != streamhash(t, m.file, ch[kid].Old) {
				t.Errorf("FFmpeg reads %s", got)
			}
		})
	}
	if seen < 4 {
		t.Fatalf("%d files, want 4 and more", seen)
	}
}

func mustOpen(t *testing.T, name string, b []byte) *File {
	t.Helper()
	f, err := OpenFile(name, bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func only(ch key.Changes) (kid key.KID) {
	for kid = range ch {
		return kid
	}
	return kid
}

// TestNewDRMDataInPIFF: PIFF's form of the box gets its usertype; what it has no
// place for stays out.
func TestNewDRMDataInPIFF(t *testing.T) {
	a := newMadeTrack(1, 8)
	now := key.NewKID()
	piff := func(b []byte) []byte { return boxed("uuid", []byte(piffPSSH), b[8:]) }
	list := fullBox("pssh", 1, 0, pssh.Widevine[:], be(4, 1), now[:], be(4, 0))
	for name, tc := range map[string]struct {
		fresh, want []byte
		findings    int
	}{
		"version 0": {widevineOf(now, "n"), piff(widevineOf(now, "n")), 0},
		"version 1": {list, piff(widevineOf(now, "")), 1},
	} {
		in := mustInit(t, madeWith(a, piff(widevineOf(a.kid, ""))))
		c := key.Change{Old: a.key, New: key.NewContentKey(), NewKID: now, PSSH: [][]byte{tc.fresh}}
		res, err := in.RekeyWith(nil, key.Changes{a.kid: c}, InitOptions{AllowGrowth: true})
		made := a
		made.kid = now
		if err != nil || len(res.Findings) != tc.findings || !bytes.Equal(res.Out, madeWith(made, tc.want)) {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
}

// TestNewDRMDataForOpaqueBoxes: a box that names no KID is for all keys of moov.
func TestNewDRMDataForOpaqueBoxes(t *testing.T) {
	a, b := newMadeTrack(1, 8), newMadeTrack(2, 8)
	opaque := psshOf(pssh.FairPlay, []byte("old"))
	in := mustInit(t, boxed("moov", makeInit(a, b)[8:], opaque))
	ch := newChanges(map[key.KID]key.ContentKey{a.kid: a.key, b.kid: b.key})
	fresh := func(kid key.KID, text string) {
		c := ch[kid]
		c.PSSH = [][]byte{psshOf(pssh.FairPlay, []byte(text))}
		ch[kid] = c
	}
	fresh(a.kid, "new of a")
	res, err := in.RekeyWith(nil, ch, InitOptions{AllowGrowth: true})
	if err != nil || !bytes.Contains(res.Out, opaque) || !slices.Equal(res.NotUpdated, []string{"fairplay"}) {
		t.Errorf("one key of two: %+v, %v", res, err)
	}
	fresh(b.kid, "new of b")
	res, err = in.RekeyWith(nil, ch, InitOptions{AllowGrowth: true})
	want := join(psshOf(pssh.FairPlay, []byte("new of a")), psshOf(pssh.FairPlay, []byte("new of b")))
	if err != nil || !bytes.Contains(res.Out, want) || bytes.Contains(res.Out, opaque) || len(res.NotUpdated)+len(res.Findings) != 0 {
		t.Errorf("both keys: %+v, %v", res, err)
	}
}

// TestUnusableDRMData: the fault is the changes', wherever they are given.
func TestUnusableDRMData(t *testing.T) {
	a := newMadeTrack(1, 8)
	ch := key.Changes{a.kid: {Old: a.key, New: key.NewContentKey(), NewKID: key.NewKID(), PSSH: [][]byte{widevineOf(key.NewKID(), "")}}}
	in := mustInit(t, madeWith(a, widevineOf(a.kid, "")))
	_, err := in.RekeyWith(nil, ch, InitOptions{AllowGrowth: true})
	checkError(t, err, ErrReplacement, "moov")
	_, err = NewRekeyer(in, ch, Options{})
	checkError(t, err, ErrReplacement, "moov")
	m := packagerMedia(t)[0]
	ch = newChanges(m.keys)
	kid := only(ch)
	c := ch[kid]
	c.PSSH = [][]byte{[]byte("no box")}
	ch[kid] = c
	if _, _, _, err = rekeyFile("file", m.file, ch); !errors.Is(err, ErrReplacement) {
		t.Errorf("a file: %v, want ErrReplacement", err)
	}
}

// FuzzNewDRMData: whatever init section is taken, with new data of any length, is
// read again with the new KIDs, and keeps its length where it may not grow.
func FuzzNewDRMData(f *testing.F) {
	seeds := append(renditions(f, fixtures.Library()), renditions(f, fixtures.More())...)
	for i, r := range seeds {
		f.Add(r.init, uint8(i*37), i%2 == 0)
	}
	a := newMadeTrack(1, 8)
	keys := fixtureKeys(f)
	for kid := range keys {
		a.kid = kid
		f.Add(madeWith(a, widevineOf(kid, "note"), boxed("free", make([]byte, 20))), uint8(9), false)
		f.Add(join(madeWith(a, widevineOf(kid, "note")), boxed("mfra")), uint8(90), true)
	}
	bare := newChanges(keys)
	f.Fuzz(func(t *testing.T, b []byte, note uint8, grow bool) {
		in, err := ParseInit("init.mp4", b)
		if err != nil {
			return
		}
		ch := key.Changes{}
		for kid, c := range bare {
			c.PSSH = [][]byte{widevineOf(c.NewKID, strings.Repeat("n", int(note)%128))}
			ch[kid] = c
		}
		res, err := in.RekeyWith(nil, ch, InitOptions{AllowGrowth: grow})
		if err != nil {
			return
		}
		if len(res.Out) != len(b)+res.Growth || !grow && res.Growth != 0 {
			t.Fatalf("%d bytes became %d, by %d", len(b), len(res.Out), res.Growth)
		}
		again, err := ParseInit("init.mp4", res.Out)
		if err != nil {
			t.Fatal(err)
		}
		for i, kid := range in.KIDs() {
			if c, ok := ch[kid]; ok && again.KIDs()[i] != c.NewKID {
				t.Errorf("KID %v is still there", kid)
			}
		}
	})
}
