package pssh

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
)

// fixtureBoxes cuts every pssh box out of the fixtures' init sections.
func fixtureBoxes(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := fs.Glob(fixtures.Library(), "*/*/init.mp4")
	if err != nil || len(names) == 0 {
		t.Fatalf("no init sections in the fixtures (%v)", err)
	}
	boxes := make(map[string][]byte)
	for _, name := range names {
		b, err := fs.ReadFile(fixtures.Library(), name)
		if err != nil {
			t.Fatal(err)
		}
		for at := 4; ; {
			i := bytes.Index(b[at:], []byte("pssh"))
			if i < 0 {
				break
			}
			at += i
			size := int(binary.BigEndian.Uint32(b[at-4:]))
			boxes[fmt.Sprintf("%s@%d", name, at-4)] = b[at-4 : at-4+size]
			at += size - 4
		}
	}
	if len(boxes) == 0 {
		t.Fatal("no pssh boxes in the fixtures")
	}
	return boxes
}

func fixtureKeys(t testing.TB) map[key.KID]key.ContentKey {
	t.Helper()
	keys := make(map[key.KID]key.ContentKey)
	s := bufio.NewScanner(bytes.NewReader(fixtures.Keys()))
	for s.Scan() {
		kid, k, ok := strings.Cut(strings.Fields(s.Text() + " ")[0], ":")
		if !ok {
			continue
		}
		id, err := key.ParseKID(kid)
		if err != nil {
			t.Fatal(err)
		}
		if keys[id], err = key.ParseContentKey(k); err != nil {
			t.Fatal(err)
		}
	}
	if len(keys) == 0 {
		t.Fatal("no keys in the fixtures")
	}
	return keys
}

func newChanges(keys map[key.KID]key.ContentKey) key.Changes {
	ch := make(key.Changes)
	for kid, k := range keys {
		ch[kid] = key.Change{Old: k, New: key.NewContentKey(), NewKID: key.NewKID()}
	}
	return ch
}

func TestRekeyFixtures(t *testing.T) {
	keys := fixtureKeys(t)
	ch := newChanges(keys)
	back := make(key.Changes)
	for kid, c := range ch {
		back[c.NewKID] = key.Change{Old: c.New, New: c.Old, NewKID: kid}
	}
	systems := make(map[string]int)
	for name, box := range fixtureBoxes(t) {
		t.Run(name, func(t *testing.T) {
			b, err := Parse(box)
			if err != nil {
				t.Fatal(err)
			}
			systems[SystemName(b.System)]++
			old, err := KIDs(box)
			if err != nil || len(old) == 0 {
				t.Fatalf("KIDs: %v, %v", old, err)
			}
			out, updated, err := Rekey(box, ch)
			if err != nil || !updated || len(out) != len(box) {
				t.Fatalf("Rekey: updated %v, %d bytes of %d, %v", updated, len(out), len(box), err)
			}
			got, err := KIDs(out)
			if err != nil {
				t.Fatal(err)
			}
			for i, kid := range old {
				if got[i] != ch[kid].NewKID {
					t.Errorf("KID %d is %v, want %v", i, got[i], ch[kid].NewKID)
				}
			}
			for _, kid := range old {
				for _, form := range forms(kid) {
					if bytes.Contains(out, form) {
						t.Errorf("old KID still stands as %x", form)
					}
				}
			}
			again, _, err := Rekey(out, back)
			if err != nil || !bytes.Equal(again, box) {
				t.Errorf("rekeying back does not give the same bytes (%v)", err)
			}
			if same, updated, err := Rekey(box, nil); err != nil || updated || !bytes.Equal(same, box) {
				t.Errorf("no change is not byte-identical: %v %v", updated, err)
			}
		})
	}
	for _, want := range []string{"common", "widevine", "playready"} {
		if systems[want] == 0 {
			t.Errorf("no %s box in the fixtures", want)
		}
	}
}

// forms are the ways a KID is written in protection data.
func forms(kid key.KID) [][]byte {
	g := kid.GUID()
	return [][]byte{kid[:], g[:], utf16le(base64.StdEncoding.EncodeToString(g[:]))}
}

func TestCheckKeyFixtures(t *testing.T) {
	keys := fixtureKeys(t)
	checked := 0
	for name, box := range fixtureBoxes(t) {
		b, err := Parse(box)
		if err != nil {
			t.Fatal(err)
		}
		kids, err := KIDs(box)
		if err != nil {
			t.Fatal(err)
		}
		for _, kid := range kids {
			got, wrong := CheckKey(box, kid, keys[kid]), CheckKey(box, kid, key.NewContentKey())
			if b.System != PlayReady {
				if got != evidence.Undecided {
					t.Errorf("%s: %v from a box without CHECKSUM", name, got)
				}
				continue
			}
			checked++
			if got != evidence.Right || wrong != evidence.Wrong {
				t.Errorf("%s: right key is %v, wrong key is %v", name, got, wrong)
			}
			c := newChanges(keys)
			out, _, err := Rekey(box, c)
			if err != nil {
				t.Fatal(err)
			}
			if v := CheckKey(out, c[kid].NewKID, c[kid].New); v != evidence.Right {
				t.Errorf("%s: after rekeying, the new key is %v", name, v)
			}
		}
	}
	if checked == 0 {
		t.Fatal("no CHECKSUM in the fixtures")
	}
}

func utf16le(s string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}

func pro(records ...[]byte) []byte {
	out := make([]byte, 6)
	for _, r := range records {
		out = binary.LittleEndian.AppendUint16(out, recordHeader)
		out = binary.LittleEndian.AppendUint16(out, uint16(len(r)))
		out = append(out, r...)
	}
	binary.LittleEndian.PutUint32(out, uint32(len(out)))
	binary.LittleEndian.PutUint16(out[4:], uint16(len(records)))
	return out
}

func boxOf(system [16]byte, version byte, kids []key.KID, data []byte) []byte {
	b := append([]byte{0, 0, 0, 0, 'p', 's', 's', 'h', version, 0, 0, 0}, system[:]...)
	if version > 0 {
		b = binary.BigEndian.AppendUint32(b, uint32(len(kids)))
		for _, k := range kids {
			b = append(b, k[:]...)
		}
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	b = append(b, data...)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// TestWRMHeaderVersions covers the header versions the fixtures do not have.
func TestWRMHeaderVersions(t *testing.T) {
	kid, other := key.NewKID(), key.NewKID()
	k := key.NewContentKey()
	ch := key.Changes{kid: {Old: k, New: key.NewContentKey(), NewKID: key.NewKID()}}
	sum := checksum(kid, k)
	check := base64.StdEncoding.EncodeToString(sum[:])
	g, og := kid.GUID(), other.GUID()
	v, ov := base64.StdEncoding.EncodeToString(g[:]), base64.StdEncoding.EncodeToString(og[:])
	head := `<WRMHEADER xmlns="http://schemas.microsoft.com/DRM/2007/03/PlayReadyHeader" version="`
	custom := `<CUSTOMATTRIBUTES><KID>not a kid</KID></CUSTOMATTRIBUTES>`
	for name, tc := range map[string]struct {
		xml  string
		kids int
		want evidence.Verdict
	}{
		"4.0":             {head + `4.0.0.0"><DATA><PROTECTINFO><KEYLEN>16</KEYLEN><ALGID>AESCTR</ALGID></PROTECTINFO><KID> ` + v + `</KID><CHECKSUM>` + check + `</CHECKSUM>` + custom + `</DATA></WRMHEADER>`, 1, evidence.Right},
		"4.0 no checksum": {head + `4.0.0.0"><DATA><KID>` + v + `</KID></DATA></WRMHEADER>`, 1, evidence.Undecided},
		"4.1":             {head + `4.1.0.0"><DATA><PROTECTINFO><KID ALGID="AESCTR" CHECKSUM="` + check + `" VALUE="` + v + `"></KID></PROTECTINFO></DATA></WRMHEADER>`, 1, evidence.Right},
		"4.2":             {head + `4.2.0.0"><DATA><PROTECTINFO><KIDS><KID VALUE='` + ov + `' ALGID="AESCTR"/><!-- <KID> --><KID ALGID = "AESCTR" VALUE = "` + v + `" CHECKSUM="` + check + `" /></KIDS></PROTECTINFO></DATA></WRMHEADER>`, 2, evidence.Right},
		"4.3 no kids":     {head + `4.3.0.0"><DATA><PROTECTINFO/><LA_URL>http://例え/?a&gt;b</LA_URL></DATA></WRMHEADER>`, 0, evidence.Undecided},
		"4.3":             {head + `4.3.0.0"><DATA><PROTECTINFO><KIDS><KID ALGID="AESCBC" VALUE="` + v + `"/></KIDS></PROTECTINFO><LA_URL>例</LA_URL></DATA></WRMHEADER>`, 1, evidence.Undecided},
	} {
		t.Run(name, func(t *testing.T) {
			in := pro(utf16le(tc.xml))
			kids, err := PROKIDs(in)
			if err != nil || len(kids) != tc.kids {
				t.Fatalf("PROKIDs: %v, %v", kids, err)
			}
			if got := CheckKeyPRO(in, kid, k); got != tc.want {
				t.Errorf("CheckKeyPRO is %v, want %v", got, tc.want)
			}
			out, updated, err := RekeyPRO(in, ch)
			if err != nil || updated != (tc.kids > 0) || len(out) != len(in) {
				t.Fatalf("RekeyPRO: %v, %v", updated, err)
			}
			if tc.kids == 0 {
				return
			}
			if got := CheckKeyPRO(out, ch[kid].NewKID, ch[kid].New); got != tc.want {
				t.Errorf("after rekeying, CheckKeyPRO is %v, want %v", got, tc.want)
			}
			after, err := PROKIDs(out)
			if err != nil || after[len(after)-1] != ch[kid].NewKID {
				t.Errorf("after rekeying, PROKIDs are %v, %v", after, err)
			}
		})
	}
}

func TestUnknownSystemsStay(t *testing.T) {
	kid := key.NewKID()
	ch := key.Changes{kid: {New: key.NewContentKey(), NewKID: key.NewKID()}}
	for name, tc := range map[string]struct {
		box  []byte
		want bool
	}{
		"fairplay with data":   {boxOf(FairPlay, 1, []key.KID{kid}, []byte("opaque")), false},
		"unknown without data": {boxOf([16]byte{9}, 1, []key.KID{kid}, nil), true},
		"clearkey":             {boxOf(ClearKey, 1, []key.KID{kid}, nil), true},
		"common version 0":     {boxOf(Common, 0, nil, kid[:]), false},
	} {
		out, updated, err := Rekey(tc.box, ch)
		if err != nil || updated != tc.want || bytes.Equal(out, tc.box) == tc.want {
			t.Errorf("%s: updated %v, %v", name, updated, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	kid := key.NewKID()
	ch := key.Changes{kid: {New: key.NewContentKey(), NewKID: key.NewKID()}}
	g := kid.GUID()
	v := base64.StdEncoding.EncodeToString(g[:])
	good := boxOf(Common, 1, []key.KID{kid}, nil)
	with := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	keyID := append([]byte{widevineKeyIDs<<3 | wireBytes, 16}, kid[:]...)
	cocktail := `<WRMHEADER version="4.0.0.0"><DATA><ALGID>COCKTAIL</ALGID><KID>` + v + `</KID><CHECKSUM>AAAAAAAAAA==</CHECKSUM></DATA></WRMHEADER>`
	for name, tc := range map[string]struct {
		box   []byte
		class error
	}{
		"empty":                {nil, ErrMalformed},
		"size":                 {with(0, 0xff), ErrMalformed},
		"type":                 {with(4, 'x'), ErrMalformed},
		"version":              {with(8, 2), ErrUnsupported},
		"kid count":            {with(28, 0xff, 0xff, 0xff, 0xff), ErrMalformed},
		"data size":            {with(48, 1), ErrMalformed},
		"no data size":         {boxOf(Common, 1, []key.KID{kid}, nil)[:40], ErrMalformed},
		"widevine tag":         {boxOf(Widevine, 0, nil, []byte{0x80}), ErrMalformed},
		"widevine field 0":     {boxOf(Widevine, 0, nil, []byte{0x02, 0}), ErrMalformed},
		"widevine varint":      {boxOf(Widevine, 0, nil, []byte{0x08, 0x80}), ErrMalformed},
		"widevine length":      {boxOf(Widevine, 0, nil, []byte{0x12, 16, 1}), ErrMalformed},
		"widevine huge length": {boxOf(Widevine, 0, nil, []byte{0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}), ErrMalformed},
		"widevine fixed":       {boxOf(Widevine, 0, nil, []byte{0x0d, 1}), ErrMalformed},
		"widevine group":       {boxOf(Widevine, 0, nil, []byte{0x0b}), ErrMalformed},
		"widevine entitled":    {boxOf(Widevine, 0, nil, append(keyID, widevineEntitledKeys<<3|wireBytes, 0)), ErrUnsupported},
		"pro empty":            {boxOf(PlayReady, 0, nil, nil), ErrMalformed},
		"pro length":           {boxOf(PlayReady, 0, nil, []byte{7, 0, 0, 0, 0, 0}), ErrMalformed},
		"pro count":            {boxOf(PlayReady, 0, nil, []byte{6, 0, 0, 0, 1, 0}), ErrMalformed},
		"pro record length":    {boxOf(PlayReady, 0, nil, []byte{10, 0, 0, 0, 1, 0, 1, 0, 9, 0}), ErrMalformed},
		"pro odd text":         {boxOf(PlayReady, 0, nil, pro([]byte{'<'})), ErrMalformed},
		"pro version":          {boxOf(PlayReady, 0, nil, pro(utf16le(`<WRMHEADER version="9"/>`))), ErrUnsupported},
		"pro open tag":         {boxOf(PlayReady, 0, nil, pro(utf16le(`<WRMHEADER version="4.0.0.0`))), ErrMalformed},
		"pro open comment":     {boxOf(PlayReady, 0, nil, pro(utf16le(`<!--`))), ErrMalformed},
		"pro kid":              {boxOf(PlayReady, 0, nil, pro(utf16le(`<WRMHEADER version="4.0.0.0"><KID>AA==</KID>`))), ErrMalformed},
		"pro cocktail":         {boxOf(PlayReady, 0, nil, pro(utf16le(cocktail))), ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Rekey(tc.box, ch)
			var e *Error
			if !errors.Is(err, tc.class) || !errors.As(err, &e) || e.Place == "" || e.Reason == "" {
				t.Errorf("error is %v, want class %v with a place", err, tc.class)
			}
		})
	}
}

func FuzzBox(f *testing.F) {
	for _, box := range fixtureBoxes(f) {
		f.Add(box)
	}
	ch := newChanges(fixtureKeys(f))
	f.Fuzz(func(t *testing.T, box []byte) {
		out, updated, err := Rekey(box, ch)
		if err != nil {
			return
		}
		if len(out) != len(box) || updated == bytes.Equal(out, box) {
			t.Errorf("updated %v, %d bytes of %d", updated, len(out), len(box))
		}
		if _, err := KIDs(out); err != nil {
			t.Errorf("rekeyed box no longer parses: %v", err)
		}
	})
}

func FuzzPRO(f *testing.F) {
	for _, box := range fixtureBoxes(f) {
		if b, err := Parse(box); err == nil && b.System == PlayReady {
			f.Add(b.Data)
		}
	}
	f.Add(pro(utf16le(`<WRMHEADER version="4.2.0.0"><KID VALUE="AAAAAAAAAAAAAAAAAAAAAA==" CHECKSUM="AAAAAAAAAAA=" ALGID="AESCTR"/>`)))
	keys := fixtureKeys(f)
	keys[key.KID{}] = key.NewContentKey()
	ch := newChanges(keys)
	f.Fuzz(func(t *testing.T, b []byte) {
		out, updated, err := RekeyPRO(b, ch)
		if err != nil {
			return
		}
		if len(out) != len(b) || updated == bytes.Equal(out, b) {
			t.Errorf("updated %v, %d bytes of %d", updated, len(out), len(b))
		}
		for kid := range keys {
			kids, err := PROKIDs(out)
			if err != nil {
				t.Fatalf("rekeyed object no longer parses: %v", err)
			}
			for _, k := range kids {
				if k == kid {
					t.Errorf("old KID %v still stands", kid)
				}
			}
		}
	})
}
