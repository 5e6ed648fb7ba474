package rotation

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/pssh"
)

func kidN(n int) key.KID { return key.KID{0: 0xa0, 15: byte(n)} }

// plain is a plan of so many single files, each under a key of its own and larger
// than the one before.
func plain(files int) *journal.Plan {
	p := &journal.Plan{Asset: "film"}
	for i := range files {
		p.Keys = append(p.Keys, journal.KeyChange{OldKID: kidN(i), NewKID: kidN(100 + i)})
		p.Tracks = append(p.Tracks, journal.Track{
			Format: catalog.CENC, Scheme: "cbcs", OldKIDs: []key.KID{kidN(i)},
			Objects: []journal.Object{{Size: int64(1000 * (i + 1))}},
		})
	}
	return p
}

func TestAsksNameTracks(t *testing.T) {
	e := &Engine{KeySource: noSource{}}
	for files, want := range map[int][]string{
		1: {"ALL"}, 2: {"SD", "HD"}, 4: {"SD", "HD", "UHD1", "UHD2"},
	} {
		p := plain(files)
		asks, err := e.asks(t.Context(), p, nil)
		if err != nil || p.Refusal != nil {
			t.Fatalf("%d keys: %v, refusal %+v", files, err, p.Refusal)
		}
		var got []string
		for i, a := range asks {
			got = append(got, a.TrackType)
			if a.KID != p.Keys[i].NewKID || a.Scheme != "cbcs" {
				t.Errorf("%d keys: asked for %+v", files, a)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d keys are for %v, want %v", files, got, want)
		}
	}
}

// An asset with more keys than there are words for is refused; other assets are
// not held back by it.
func TestTooManyKeysRefuseTheAsset(t *testing.T) {
	p := plain(5)
	asks, err := (&Engine{KeySource: noSource{}}).asks(t.Context(), p, nil)
	if err != nil || asks != nil {
		t.Fatalf("asks %v, error %v", asks, err)
	}
	if r := p.Refusal; r == nil || r.Object != "film" || !strings.Contains(r.Reason, "5 for video") {
		t.Errorf("refusal %+v", p.Refusal)
	}
}

// What is not asked for: keys of playlists, keys of others' servers, and keys that
// an asset before was given.
func TestNotAsked(t *testing.T) {
	e := &Engine{KeySource: noSource{}}
	for name, edit := range map[string]func(*journal.Plan){
		"key object": func(p *journal.Plan) { p.Keys[0].Object = &journal.Move{} },
		"key URI":    func(p *journal.Plan) { p.Keys[0].URIs = map[string]string{"https://a": "https://b"} },
		"two URIs": func(p *journal.Plan) {
			p.Keys[0].URIs = map[string]string{"skd://a": "skd://b", "https://a": "https://b"}
		},
		"AES-128": func(p *journal.Plan) { p.Tracks[0].Format = catalog.AES128 },
		"refused": func(p *journal.Plan) { p.Refusal = &journal.Refusal{} },
	} {
		p := plain(1)
		edit(p)
		if asks, err := e.asks(t.Context(), p, nil); err != nil || len(asks) > 0 {
			t.Errorf("%s: asks %v, error %v", name, asks, err)
		}
	}
	made := map[key.KID]NewKey{kidN(100): {}}
	if asks, err := e.asks(t.Context(), plain(2), made); err != nil || len(asks) != 1 || asks[0].KID != kidN(101) {
		t.Errorf("asks %v, error %v; want the second key", asks, err)
	}
}

// A key that FairPlay names is the service's, and so is its URI.
func TestFairPlayURI(t *testing.T) {
	p := plain(1)
	p.Keys[0].URIs = map[string]string{"skd://a": "skd://template"}
	if asks, err := (&Engine{KeySource: noSource{}}).asks(t.Context(), p, nil); err != nil || len(asks) != 1 {
		t.Fatalf("asks %v, error %v", asks, err)
	}
	for uri, want := range map[string]string{"": "skd://template", "skd://new": "skd://new"} {
		c := journal.KeyChange{NewKID: kidN(1), URIs: map[string]string{"skd://a": "skd://template"}}
		err := fill(&c, map[key.KID]NewKey{kidN(1): {KID: kidN(1), URI: uri}})
		if err != nil || c.URIs["skd://a"] != want || !c.Service {
			t.Errorf("service's URI %q: %v, error %v", uri, c.URIs, err)
		}
	}
	c := journal.KeyChange{NewKID: kidN(1), URIs: map[string]string{"skd://a": "skd://template"}}
	if err := fill(&c, map[key.KID]NewKey{kidN(1): {KID: kidN(1), URI: "skd://a"}}); err == nil {
		t.Error("the old URI is taken for the new key")
	}
}

// noSource is for asks that are not made.
type noSource struct{ KeySource }

func TestNewKeyCheck(t *testing.T) {
	fresh := kidN(1)
	box := func(kid key.KID) []byte {
		data := append([]byte{0x12, 16}, kid[:]...)
		b := binary.BigEndian.AppendUint32(nil, uint32(32+len(data)))
		b = append(append(b, "pssh\x00\x00\x00\x00"...), pssh.Widevine[:]...)
		return append(binary.BigEndian.AppendUint32(b, uint32(len(data))), data...)
	}
	for name, c := range map[string]struct {
		box  []byte
		good bool
	}{
		"its own KID": {box(fresh), true},
		"another KID": {box(kidN(2)), false},
		"no box":      {[]byte("pssh"), false},
		"cut":         {box(fresh)[:40], false},
	} {
		k := NewKey{KID: fresh, Key: key.NewContentKey(), DRM: []keyring.DRM{{PSSH: c.box}}}
		err := k.Check()
		if c.good != (err == nil) || err != nil && (!errors.Is(err, pssh.ErrReplacement) || !strings.Contains(err.Error(), fresh.String())) {
			t.Errorf("%s: %v", name, err)
		}
		raw := k.Key.RevealSecretBytes()
		if err != nil && strings.Contains(err.Error(), base64.StdEncoding.EncodeToString(raw[:])) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
}
