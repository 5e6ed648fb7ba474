package cenc

import (
	"bytes"
	"crypto/aes"
	"encoding/base64"
	"encoding/binary"
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
