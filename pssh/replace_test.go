package pssh

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// widevineOf is a box as a key service makes it: with a provider and content id,
// which the packager's has not.
func widevineOf(kids ...key.KID) []byte {
	var data []byte
	for _, kid := range kids {
		data = append(append(data, widevineKeyIDs<<3|wireBytes, 16), kid[:]...)
	}
	return boxOf(Widevine, 0, nil, append(data, "\x1a\x04seed\x22\x05movie"...))
}

func playReadyOf(kid key.KID, k key.ContentKey) []byte {
	g, sum := kid.GUID(), checksum(kid, k)
	return boxOf(PlayReady, 0, nil, pro(utf16le(`<WRMHEADER version="4.0.0.0"><DATA><PROTECTINFO><ALGID>AESCTR</ALGID></PROTECTINFO><KID>`+
		base64.StdEncoding.EncodeToString(g[:])+`</KID><CHECKSUM>`+base64.StdEncoding.EncodeToString(sum[:])+
		`</CHECKSUM><LA_URL>https://licence.example/</LA_URL></DATA></WRMHEADER>`)))
}

func served(ch key.Changes) key.Changes {
	out := make(key.Changes)
	for kid, c := range ch {
		c.PSSH = [][]byte{widevineOf(c.NewKID), playReadyOf(c.NewKID, c.New)}
		out[kid] = c
	}
	return out
}

// TestReplaceFixtures: what Shaka Packager wrote becomes what the service gave, by
// system; the common system's, which it has nothing for, is left to Rekey.
func TestReplaceFixtures(t *testing.T) {
	ch := served(newChanges(fixtureKeys(t)))
	if err := CheckReplacements(ch); err != nil {
		t.Fatal(err)
	}
	systems := map[string]int{}
	for name, box := range fixtureBoxes(t) {
		b, err := Parse(box)
		if err != nil {
			t.Fatal(err)
		}
		kids, err := KIDs(box)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Replace(box, ch, nil)
		if err != nil {
			t.Fatal(err)
		}
		var want [][]byte
		for _, kid := range kids {
			switch b.System {
			case Widevine:
				want = append(want, ch[kid].PSSH[0])
			case PlayReady:
				want = append(want, ch[kid].PSSH[1])
			}
		}
		if !equal(got, want) {
			t.Errorf("%s: became %x, want %x", name, got, want)
		}
		systems[SystemName(b.System)]++
		if b.System != PlayReady {
			continue
		}
		objects, err := ReplacePRO(b.Data, ch, nil)
		if err != nil || len(objects) != 1 || CheckKeyPRO(objects[0], ch[kids[0]].NewKID, ch[kids[0]].New) != evidence.Right {
			t.Errorf("%s: object became %x, %v", name, objects, err)
		}
	}
	for _, want := range []string{"common", "widevine", "playready"} {
		if systems[want] == 0 {
			t.Errorf("no %s box in the fixtures", want)
		}
	}
}

func equal(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// TestReplaceRules: boxes of several KIDs, of none, and of other systems.
func TestReplaceRules(t *testing.T) {
	a, b, plain, stays := key.NewKID(), key.NewKID(), key.NewKID(), key.NewKID()
	ch := newChanges(map[key.KID]key.ContentKey{a: key.NewContentKey(), b: key.NewContentKey()})
	ch = served(ch)
	ch[plain] = key.Change{Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: key.NewKID()}
	wa, wb := ch[a].PSSH[0], ch[b].PSSH[0]
	joint := served(ch)
	for _, kid := range []key.KID{a, b} {
		c := joint[kid]
		c.PSSH = [][]byte{widevineOf(ch[a].NewKID, ch[b].NewKID)}
		joint[kid] = c
	}
	swapped := func(kids ...key.KID) []byte {
		out, updated, err := Rekey(widevineOf(kids...), ch)
		if err != nil || !updated {
			t.Fatal(updated, err)
		}
		return out
	}
	opaque := boxOf(Widevine, 0, nil, []byte("\x22\x05movie"))
	entitled := boxOf(Widevine, 0, nil, append(append([]byte{widevineKeyIDs<<3 | wireBytes, 16}, a[:]...), widevineEntitledKeys<<3|wireBytes, 0))
	for name, tc := range map[string]struct {
		box     []byte
		ch      key.Changes
		applies []key.KID
		want    [][]byte
	}{
		"one":                    {widevineOf(a), ch, nil, [][]byte{wa}},
		"version 1":              {boxOf(Widevine, 1, []key.KID{a}, nil), ch, nil, [][]byte{wa}},
		"two, in order":          {widevineOf(b, a), ch, nil, [][]byte{wb, wa}},
		"two, its own first":     {widevineOf(b, plain, a), ch, []key.KID{a}, [][]byte{wa, wb, swapped(b, plain, a)}},
		"two, one box for both":  {widevineOf(a, b), joint, nil, [][]byte{joint[a].PSSH[0]}},
		"one changes without":    {widevineOf(a, plain), ch, nil, [][]byte{wa, swapped(a, plain)}},
		"one stays":              {widevineOf(stays, b), ch, nil, [][]byte{wb, swapped(stays, b)}},
		"none has":               {widevineOf(plain, stays), ch, nil, nil},
		"other system":           {boxOf(Common, 1, []key.KID{a}, nil), ch, nil, nil},
		"opaque":                 {opaque, ch, []key.KID{a, b}, [][]byte{wa, wb}},
		"opaque, not all":        {opaque, ch, []key.KID{a, plain}, nil},
		"opaque, not known":      {opaque, ch, nil, nil},
		"entitled keys go":       {entitled, ch, nil, [][]byte{wa}},
		"no changes":             {widevineOf(a), nil, nil, nil},
		"changes without data":   {widevineOf(a), key.Changes{a: {NewKID: b}}, []key.KID{a}, nil},
		"unknown system, listed": {boxOf(FairPlay, 1, []key.KID{a}, []byte("x")), ch, nil, nil},
	} {
		got, err := Replace(tc.box, tc.ch, tc.applies)
		if err != nil || !equal(got, tc.want) {
			t.Errorf("%s: became %x, want %x (%v)", name, got, tc.want, err)
		}
	}
	if _, err := Replace(append(bytes.Clone(entitled[:len(entitled):len(entitled)]), 0), ch, nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("a malformed box: %v", err)
	}
}

func TestReplaceOpaqueSystem(t *testing.T) {
	kid := key.NewKID()
	c := key.Change{Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: key.NewKID(), PSSH: [][]byte{boxOf(FairPlay, 0, nil, []byte("new"))}}
	ch := key.Changes{kid: c}
	for name, box := range map[string][]byte{
		"listed": boxOf(FairPlay, 1, []key.KID{kid}, []byte("old")),
		"opaque": boxOf(FairPlay, 0, nil, []byte("old")),
	} {
		if got, err := Replace(box, ch, []key.KID{kid}); err != nil || !equal(got, c.PSSH) {
			t.Errorf("%s: became %x, %v", name, got, err)
		}
	}
}

func TestUnusableReplacements(t *testing.T) {
	old, now, other := key.NewKID(), key.NewKID(), key.NewKID()
	k := key.NewContentKey()
	long := boxOf(Marlin, 0, nil, make([]byte, maxReplacement))
	for name, tc := range map[string]struct {
		boxes  [][]byte
		reason string
	}{
		"empty":           {[][]byte{nil}, "too few"},
		"two in one":      {[][]byte{append(widevineOf(now), widevineOf(now)...)}, "box size"},
		"cut":             {[][]byte{widevineOf(now)[:40]}, "box size"},
		"too long":        {[][]byte{long}, "more than"},
		"second":          {[][]byte{widevineOf(now), widevineOf(now)}, "second box of system widevine"},
		"other KID":       {[][]byte{widevineOf(other)}, "does not name the new KID"},
		"old KID":         {[][]byte{widevineOf(now, old)}, "which goes"},
		"list and data":   {[][]byte{boxOf(Widevine, 1, []key.KID{other}, widevineOf(now)[32:])}, "does not name the new KID"},
		"broken data":     {[][]byte{boxOf(Widevine, 0, nil, []byte{0x80})}, "protobuf"},
		"wrong CHECKSUM":  {[][]byte{playReadyOf(now, key.NewContentKey())}, "CHECKSUM"},
		"unknown version": {[][]byte{boxOf(PlayReady, 0, nil, pro(utf16le(`<WRMHEADER version="9"/>`)))}, "version"},
	} {
		ch := key.Changes{old: {Old: key.NewContentKey(), New: k, NewKID: now, PSSH: tc.boxes}}
		_, used := Replace(widevineOf(old), ch, nil)
		if name == "second" {
			used = CheckReplacements(ch) // what is used is sound
		}
		for _, err := range []error{CheckReplacements(ch), used} {
			var e *Error
			if !errors.Is(err, ErrReplacement) || !errors.As(err, &e) || !strings.Contains(e.Reason, tc.reason) || !strings.Contains(e.Place, old.String()) {
				t.Errorf("%s: %v, want ErrReplacement about %q", name, err, tc.reason)
			}
		}
	}
	good := key.Changes{old: {New: k, NewKID: now, PSSH: [][]byte{widevineOf(now, other), playReadyOf(now, k), boxOf(Marlin, 0, nil, []byte("any"))}}}
	if err := CheckReplacements(good); err != nil {
		t.Error(err)
	}
}

// FuzzReplace: new data from a service, and the box that it shall replace: what
// comes out is whole boxes that name no key that went, but where the box's system
// is not known.
func FuzzReplace(f *testing.F) {
	keys := fixtureKeys(f)
	ch := newChanges(keys)
	var kid key.KID
	for kid = range ch {
		break
	}
	now := ch[kid].NewKID
	for _, box := range fixtureBoxes(f) {
		f.Add(box, widevineOf(now), true)
		f.Add(box, playReadyOf(now, ch[kid].New), false)
		f.Add(box, boxOf(Common, 1, []key.KID{now}, nil), false)
	}
	f.Fuzz(func(t *testing.T, box, fresh []byte, knows bool) {
		changes := make(key.Changes)
		for k, c := range ch {
			changes[k] = c
		}
		c := changes[kid]
		c.PSSH = [][]byte{fresh}
		changes[kid] = c
		var applies []key.KID
		if knows {
			applies = []key.KID{kid}
		}
		out, err := Replace(box, changes, applies)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Class == nil {
				t.Fatalf("error of no class: %v", err)
			}
			return
		}
		if len(out) > 0 && !bytes.Equal(out[0], fresh) || len(out) > 2 {
			t.Fatalf("became %x", out)
		}
		for _, b := range out {
			p, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			kids, err := KIDs(b)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range kids {
				if _, goes := ch[k]; goes && (p.System == Widevine || p.System == PlayReady) {
					t.Errorf("KID %v is still named", k)
				}
			}
		}
	})
}
