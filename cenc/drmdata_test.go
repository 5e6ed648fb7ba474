package cenc

import (
	"bytes"
	"crypto/aes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

func psshOf(system [16]byte, data []byte) []byte {
	return fullBox("pssh", 0, 0, system[:], be(4, uint64(len(data))), data)
}

// widevineOf is a Widevine box with one key id and as much of a content id as note
// has.
func widevineOf(kid key.KID, note string) []byte {
	data := join([]byte{0x12, 16}, kid[:])
	if note != "" {
		data = join(data, []byte{0x22, byte(len(note))}, []byte(note))
	}
	return psshOf(pssh.Widevine, data)
}

// playReadyOf is a PlayReady box with a WRMHEADER 4.0 and its CHECKSUM, made apart
// from the code under test.
func playReadyOf(t testing.TB, kid key.KID, k key.ContentKey, url string) []byte {
	t.Helper()
	g, raw := kid.GUID(), k.RevealSecretBytes()
	block, err := aes.NewCipher(raw[:])
	if err != nil {
		t.Fatal(err)
	}
	sum := make([]byte, 16)
	block.Encrypt(sum, g[:])
	std := base64.StdEncoding.EncodeToString
	text := `<WRMHEADER xmlns="http://schemas.microsoft.com/DRM/2007/03/PlayReadyHeader" version="4.0.0.0"><DATA><PROTECTINFO><KEYLEN>16</KEYLEN><ALGID>AESCTR</ALGID></PROTECTINFO><KID>` +
		std(g[:]) + `</KID><CHECKSUM>` + std(sum[:8]) + `</CHECKSUM>`
	if url != "" {
		text += `<LA_URL>` + url + `</LA_URL>`
	}
	text += `</DATA></WRMHEADER>`
	var header []byte
	for _, u := range utf16.Encode([]rune(text)) {
		header = binary.LittleEndian.AppendUint16(header, u)
	}
	object := binary.LittleEndian.AppendUint32(nil, uint32(10+len(header)))
	object = append(object, 1, 0, 1, 0)
	object = binary.LittleEndian.AppendUint16(object, uint16(len(header)))
	return psshOf(pssh.PlayReady, append(object, header...))
}

// served are changes as a key service completes them: data that is longer than
// what Shaka Packager writes.
func served(t testing.TB, ch key.Changes) key.Changes {
	t.Helper()
	out := make(key.Changes)
	for kid, c := range ch {
		c.PSSH = [][]byte{
			widevineOf(c.NewKID, "a content id of the key service"),
			playReadyOf(t, c.NewKID, c.New, "https://licence.example/playready/rightsmanager.asmx?"+strings.Repeat("x", 100)),
		}
		out[kid] = c
	}
	return out
}

// TestNewDRMDataGrowsInit: FFmpeg decodes an init section that grew, with its
// segments, and mp4ff finds the service's boxes in it, byte for byte.
func TestNewDRMDataGrowsInit(t *testing.T) {
	ch := served(t, newChanges(fixtureKeys(t)))
	for n, r := range renditions(t, fixtures.Library()) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			in := mustInit(t, r.init)
			kid := in.KIDs()[0]
			out, _ := rekeyed(t, r, ch, n)
			res, err := in.RekeyWith(nil, ch, InitOptions{AllowGrowth: true})
			if err != nil || len(res.Findings) != 0 || len(res.NotUpdated) != 0 {
				t.Fatalf("%+v, %v", res, err)
			}
			if res.Growth <= 0 || len(res.Out) != len(r.init)+res.Growth {
				t.Errorf("grew by %d: %d bytes became %d", res.Growth, len(r.init), len(res.Out))
			}
			out.init = res.Out
			if got := streamhash(t, out.file(), ch[kid].New); got == "" || got != fixtures.ClearStreams()[r.name] {
				t.Errorf("FFmpeg reads %s", got)
			}
			f, err := mp4.DecodeFile(bytes.NewReader(res.Out))
			if err != nil {
				t.Fatal(err)
			}
			for _, old := range in.PSSHKIDs() {
				if bytes.Contains(res.Out, old[:]) {
					t.Errorf("old KID %v still stands there", old)
				}
				if !slices.ContainsFunc(f.Init.Moov.Psshs, func(b *mp4.PsshBox) bool { return bytes.Equal(encode(t, b), ch[old].PSSH[0]) }) {
					t.Errorf("mp4ff does not find the Widevine box of KID %v", ch[old].NewKID)
				}
			}
			if !slices.ContainsFunc(f.Init.Moov.Psshs, func(b *mp4.PsshBox) bool { return bytes.Equal(encode(t, b), ch[kid].PSSH[1]) }) {
				t.Error("mp4ff does not find the PlayReady box")
			}
			for _, b := range f.Init.Moov.Psshs {
				if bytes.Equal(b.SystemID, pssh.Widevine[:]) {
					if !bytes.Equal(encode(t, b), ch[kid].PSSH[0]) {
						t.Error("the first Widevine box is not that of the track's own key")
					}
					break
				}
			}
			after := mustInit(t, res.Out)
			if after.CheckKey(ch[kid].NewKID, ch[kid].New) != evidence.Right {
				t.Error("CHECKSUM is not the new key's")
			}
			checkClear(t, r, out, fixtureKeys(t), newKeys(ch))
		})
	}
}

// TestNewDRMDataWithoutGrowth: what is longer stays out, and a finding says so: the
// bytes are those of changes without data.
func TestNewDRMDataWithoutGrowth(t *testing.T) {
	bare := newChanges(fixtureKeys(t))
	ch := served(t, bare)
	for _, r := range renditions(t, fixtures.Library()) {
		in := mustInit(t, r.init)
		want, err := in.Rekey(nil, bare)
		if err != nil {
			t.Fatal(err)
		}
		res, err := in.RekeyWith(nil, ch, InitOptions{})
		if err != nil || res.Growth != 0 || !bytes.Equal(res.Out, want) {
			t.Errorf("%s: grew by %d, or other bytes: %v", r.name, res.Growth, err)
		}
		if len(res.Findings) != 2 || res.Findings[0].Code != FindingOldDRM || res.Findings[0].Object != "init.mp4" {
			t.Errorf("%s: findings %+v", r.name, res.Findings)
		}
		if got, err := in.Rekey(nil, ch); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: Rekey: %v", r.name, err)
		}
	}
}

// madeWith is an init section of one made track with more boxes in its moov.
func madeWith(a madeTrack, more ...[]byte) []byte {
	b := makeInit(a)
	return boxed("moov", append([][]byte{b[8:]}, more...)...)
}

// TestNewDRMDataFits: of the same length, with a free box behind it, and into the
// free box of the time before.
func TestNewDRMDataFits(t *testing.T) {
	a := newMadeTrack(1, 8)
	note := strings.Repeat("n", 40)
	free := func(n int) []byte { return boxed("free", make([]byte, n-8)) }
	dirty := boxed("free", []byte("something"))
	now := key.NewKID()
	for name, tc := range map[string]struct {
		old  [][]byte
		now  string
		want [][]byte // nil: the old data, swapped, and a finding
	}{
		"same":            {[][]byte{widevineOf(a.kid, note)}, note, [][]byte{widevineOf(now, note)}},
		"shorter by 8":    {[][]byte{widevineOf(a.kid, note)}, note[8:], [][]byte{widevineOf(now, note[8:]), free(8)}},
		"shorter by 30":   {[][]byte{widevineOf(a.kid, note)}, note[30:], [][]byte{widevineOf(now, note[30:]), free(30)}},
		"shorter by 7":    {[][]byte{widevineOf(a.kid, note)}, note[7:], nil},
		"longer":          {[][]byte{widevineOf(a.kid, note)}, note + "1", nil},
		"into free":       {[][]byte{widevineOf(a.kid, note), free(10), free(10)}, note + "123456789012", [][]byte{widevineOf(now, note+"123456789012"), free(8)}},
		"into all free":   {[][]byte{widevineOf(a.kid, note), free(20)}, note + strings.Repeat("1", 20), [][]byte{widevineOf(now, note+strings.Repeat("1", 20))}},
		"free with bytes": {[][]byte{widevineOf(a.kid, note), dirty}, note + "12345", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := key.Change{Old: a.key, New: key.NewContentKey(), NewKID: now, PSSH: [][]byte{widevineOf(now, tc.now)}}
			in := mustInit(t, madeWith(a, tc.old...))
			res, err := in.RekeyWith(nil, key.Changes{a.kid: c}, InitOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := tc.want
			if want == nil {
				want = append([][]byte{widevineOf(now, note)}, tc.old[1:]...)
			}
			made := a
			made.kid = now
			if !bytes.Equal(res.Out, madeWith(made, want...)) {
				t.Errorf("became\n%x, want\n%x", res.Out, madeWith(made, want...))
			}
			if (len(res.Findings) == 1) != (tc.want == nil) {
				t.Errorf("findings %+v", res.Findings)
			}
		})
	}
}

// TestGrowthRefused: what counts on the length of an init section keeps it.
func TestGrowthRefused(t *testing.T) {
	a := newMadeTrack(1, 8)
	now := key.NewKID()
	ch := key.Changes{a.kid: {Old: a.key, New: key.NewContentKey(), NewKID: now, PSSH: [][]byte{widevineOf(now, "longer")}}}
	meta := fullBox("meta", 0, 0, fullBox("iloc", 0, 0, make([]byte, 4)))
	for name, tc := range map[string]struct {
		b   []byte
		box string // nothing: it grows
	}{
		"nothing":      {join(boxed("ftyp", []byte("iso6")), madeWith(a, widevineOf(a.kid, ""))), ""},
		"moov to end":  {at(madeWith(a, widevineOf(a.kid, "")), "moov", 0, -4, 0, 0, 0, 0), ""},
		"sidx":         {join(fullBox("sidx", 0, 0, make([]byte, 20)), madeWith(a, widevineOf(a.kid, ""))), "sidx"},
		"mfra":         {join(madeWith(a, widevineOf(a.kid, "")), boxed("mfra")), "mfra"},
		"meta":         {madeWith(a, widevineOf(a.kid, ""), meta), "meta"},
		"meta in udta": {madeWith(a, widevineOf(a.kid, ""), boxed("udta", meta)), "udta"},
		"tags":         {madeWith(a, widevineOf(a.kid, ""), boxed("udta", fullBox("meta", 0, 0, boxed("ilst")))), ""},
		"no stco":      {withTable(a, fullBox("stco", 0, 0, be(4, 0))), ""},
		"stco":         {withTable(a, fullBox("stco", 0, 0, be(4, 1), be(4, 7))), "stco"},
		"saio":         {withTable(a, fullBox("saio", 0, 1, []byte("cenc"), be(4, 0), be(4, 1), be(4, 7))), "saio"},
	} {
		in := mustInit(t, tc.b)
		res, err := in.RekeyWith(nil, ch, InitOptions{AllowGrowth: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if tc.box == "" {
			if res.Growth != 8 || len(res.Findings) != 0 || !bytes.Contains(res.Out, widevineOf(now, "longer")) {
				t.Errorf("%s: grew by %d, findings %+v", name, res.Growth, res.Findings)
			}
			mustInit(t, res.Out)
			continue
		}
		if res.Growth != 0 || len(res.Findings) != 1 || !strings.Contains(res.Findings[0].Reason, tc.box+" at ") {
			t.Errorf("%s: grew by %d, findings %+v", name, res.Growth, res.Findings)
		}
	}
}

// withTable is an init section with one more box in stbl.
func withTable(a madeTrack, table []byte) []byte {
	b := makeInit(a)
	r := &reader{object: "made", b: b}
	var stbl box
	var path []box
	var walk func(from, to int) bool
	walk = func(from, to int) bool {
		for from < to {
			x, err := r.box(from, to)
			if err != nil {
				return false
			}
			if x.typ == typeStbl {
				stbl = x
				return true
			}
			if x.typ == typeMoov || x.typ == typeTrak || x.typ == typeMdia || x.typ == typeMinf {
				if path = append(path, x); walk(x.body, x.end) {
					return true
				}
				path = path[:len(path)-1]
			}
			from = x.end
		}
		return false
	}
	if !walk(0, len(b)) {
		panic("no stbl in the made init section")
	}
	out := slices.Insert(slices.Clone(b), stbl.end, table...)
	for _, x := range append(path, stbl) {
		binary.BigEndian.PutUint32(out[x.start:], uint32(x.end-x.start+len(table)))
	}
	return boxed("moov", out[8:], widevineOf(a.kid, ""))
}

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
