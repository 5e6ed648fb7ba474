package cenc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
)

// rekeyed is a rendition after rekeying, with its evidence pooled.
func rekeyed(t testing.TB, r rendition, ch key.Changes, track int) (rendition, evidence.Evidence) {
	t.Helper()
	in := mustInit(t, r.init)
	out := rendition{name: r.name}
	var err error
	if out.init, err = in.Rekey(nil, ch); err != nil {
		t.Fatal(err)
	}
	rk, err := NewRekeyer(in, ch, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var pooled evidence.Evidence
	for i, seg := range r.segments {
		before := bytes.Clone(seg)
		res, err := rk.Segment(placeOf(t, r.name, uint16(track), uint32(i)), seg)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, seg) {
			t.Fatal("Segment wrote to src")
		}
		if len(res.Findings) > 0 {
			t.Errorf("findings: %+v", res.Findings)
		}
		out.segments = append(out.segments, bytes.Clone(res.Out))
		pooled.Add(res.Evidence)
	}
	return out, pooled
}

// TestRekeyFixtures is the whole promise: FFmpeg and mp4ff read the rekeyed
// media with the new key as the clear media it was, and not with the old key;
// lengths stay; the clear form of old and new is one.
func TestRekeyFixtures(t *testing.T) {
	keys := fixtureKeys(t)
	ch := newChanges(keys)
	for n, r := range renditions(t, fixtures.Library()) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			in := mustInit(t, r.init)
			kid := in.KIDs()[0]
			out, ev := rekeyed(t, r, ch, n)
			want := fixtures.ClearStreams()[r.name]
			if want == "" {
				t.Fatal("no digest of the clear media")
			}
			if got := streamhash(t, out.file(), ch[kid].New); got != want {
				t.Errorf("FFmpeg reads %s with the new key, want %s", got, want)
			}
			if got := streamhash(t, out.file(), keys[kid]); got == want {
				t.Error("FFmpeg still reads the media with the old key")
			}
			if ev.Verdict() == evidence.Wrong || strings.HasSuffix(r.name, "audio") && ev.Verdict() != evidence.Right {
				t.Errorf("evidence is %v: %+v", ev.Verdict(), ev)
			}
			if in.CheckKey(kid, keys[kid]) != evidence.Right || in.CheckKey(kid, ch[kid].New) != evidence.Wrong {
				t.Error("CHECKSUM does not tell the keys apart")
			}
			checkInit(t, r.init, out.init, ch)
			checkClear(t, r, out, keys, newKeys(ch))
			checkMP4FF(t, r, out, keys[kid], ch[kid].New)
		})
	}
}

func checkInit(t *testing.T, old, now []byte, ch key.Changes) {
	t.Helper()
	before, after := mustInit(t, old), mustInit(t, now)
	if len(old) != len(now) {
		t.Errorf("init section of %d bytes became %d", len(old), len(now))
	}
	for i, kid := range before.KIDs() {
		if after.KIDs()[i] != ch[kid].NewKID {
			t.Errorf("tenc KID is %v, want %v", after.KIDs()[i], ch[kid].NewKID)
		}
	}
	for i, kid := range before.PSSHKIDs() {
		if after.PSSHKIDs()[i] != ch[kid].NewKID {
			t.Errorf("PSSH KID is %v, want %v", after.PSSHKIDs()[i], ch[kid].NewKID)
		}
		if bytes.Contains(now, kid[:]) {
			t.Errorf("old KID %v still stands in the init section", kid)
		}
	}
}

func checkClear(t *testing.T, old, now rendition, oldKeys, newKeys map[key.KID]key.ContentKey) {
	t.Helper()
	a, err := NewDecrypter(mustInit(t, old.init), oldKeys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewDecrypter(mustInit(t, now.init), newKeys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range old.segments {
		x, err := a.Segment("old", old.segments[i])
		if err != nil {
			t.Fatal(err)
		}
		y, err := b.Segment("new", now.segments[i])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x.Clear, y.Clear) {
			t.Errorf("segment %d: clear forms differ", i)
		}
		if bytes.Equal(old.segments[i], now.segments[i]) || x.Samples == 0 || x.Samples != y.Samples || x.Protected != y.Protected {
			t.Errorf("segment %d: %d samples, %d bytes; then %d, %d", i, x.Samples, x.Protected, y.Samples, y.Protected)
		}
	}
}

// checkMP4FF decrypts both with mp4ff and compares what it writes.
func checkMP4FF(t *testing.T, old, now rendition, oldKey, newKey key.ContentKey) {
	t.Helper()
	var files [2][]byte
	for i, k := range []key.ContentKey{oldKey, newKey} {
		r := []rendition{old, now}[i]
		raw := k.RevealSecretBytes()
		f, err := mp4.DecodeFile(bytes.NewReader(r.file()))
		if err != nil {
			t.Fatal(err)
		}
		info, err := mp4.DecryptInit(f.Init)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range f.Segments {
			if err := mp4.DecryptSegment(s, info, raw[:]); err != nil {
				t.Fatal(err)
			}
			files[i] = append(files[i], encode(t, s)...)
		}
	}
	if len(files[0]) == 0 || !bytes.Equal(files[0], files[1]) {
		t.Error("mp4ff decrypts old and new to different media")
	}
}

// TestCountersNeverRepeat looks at all renditions of one new key together, with
// mp4ff as the reader.
func TestCountersNeverRepeat(t *testing.T) {
	ch := newChanges(fixtureKeys(t))
	type block struct {
		kid       key.KID
		high, low uint64
	}
	seen := make(map[block]string)
	for n, r := range renditions(t, fixtures.Library()) {
		out, _ := rekeyed(t, r, ch, n)
		in := mustInit(t, out.init)
		f, err := mp4.DecodeFile(bytes.NewReader(out.file()))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range f.Segments {
			for _, frag := range s.Fragments {
				samples, err := frag.GetFullSamples(f.Init.Moov.Mvex.Trex)
				if err != nil {
					t.Fatal(err)
				}
				senc := frag.Moof.Traf.Senc
				if ok, parsed := frag.Moof.Traf.ContainsSencBox(); !ok {
					t.Fatal("no senc")
				} else if !parsed {
					if err := frag.Moof.Traf.ParseReadSenc(byte(in.Tracks()[0].IVSize), frag.Moof.StartPos); err != nil {
						t.Fatal(err)
					}
				}
				for i, sm := range samples {
					bytes := len(sm.Data)
					if len(senc.SubSamples) > 0 {
						bytes = 0
						for _, sub := range senc.SubSamples[i] {
							bytes += int(sub.BytesOfProtectedData)
						}
					}
					var iv [16]byte
					copy(iv[:], senc.IVs[i])
					b := block{in.KIDs()[0], binary.BigEndian.Uint64(iv[:]), binary.BigEndian.Uint64(iv[8:])}
					for range (bytes + 15) / 16 {
						if where, ok := seen[b]; ok {
							t.Fatalf("counter block %x %x is used in %s and %s", b.high, b.low, where, r.name)
						}
						seen[b] = r.name
						b.low++
					}
				}
			}
		}
	}
	if len(seen) == 0 {
		t.Fatal("no counter blocks")
	}
}

func TestDeterministic(t *testing.T) {
	r := renditions(t, fixtures.Library())[0]
	ch := newChanges(fixtureKeys(t))
	a, _ := rekeyed(t, r, ch, 3)
	b, _ := rekeyed(t, r, ch, 3)
	if !bytes.Equal(a.file(), b.file()) {
		t.Error("two runs wrote different bytes")
	}
}

func TestNothingToChange(t *testing.T) {
	for _, r := range renditions(t, fixtures.Library()) {
		in := mustInit(t, r.init)
		rk, err := NewRekeyer(in, newChanges(map[key.KID]key.ContentKey{key.NewKID(): key.NewContentKey()}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, seg := range r.segments {
			res, err := rk.Segment(Place{}, seg)
			if err != nil || !bytes.Equal(res.Out, seg) || res.Samples != 0 {
				t.Errorf("%s: %d samples, %v", r.name, res.Samples, err)
			}
		}
		if out, err := in.Rekey(nil, nil); err != nil || !bytes.Equal(out, r.init) {
			t.Errorf("%s: init section changed, %v", r.name, err)
		}
	}
}

// TestWrongKey: audio tells within one segment.
func TestWrongKey(t *testing.T) {
	keys := fixtureKeys(t)
	wrong := make(map[key.KID]key.ContentKey)
	for kid := range keys {
		wrong[kid] = key.NewContentKey()
	}
	for _, r := range renditions(t, fixtures.Library()) {
		d, err := NewDecrypter(mustInit(t, r.init), wrong, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var pooled evidence.Evidence
		for _, seg := range r.segments {
			res, err := d.Segment(r.name, seg)
			if err != nil {
				t.Fatal(err)
			}
			pooled.Add(res.Evidence)
		}
		if v := pooled.Verdict(); v == evidence.Right || strings.HasSuffix(r.name, "audio") && v != evidence.Wrong {
			t.Errorf("%s: a wrong key is %v: %+v", r.name, v, pooled)
		}
	}
}

// TestClearInDisguise gives the clear form of an audio segment, still signalled
// as encrypted, for encrypted media.
func TestClearInDisguise(t *testing.T) {
	keys := fixtureKeys(t)
	found := false
	for _, r := range renditions(t, fixtures.Library()) {
		if !strings.HasSuffix(r.name, "audio") {
			continue
		}
		found = true
		in := mustInit(t, r.init)
		d, err := NewDecrypter(in, keys, Options{})
		if err != nil {
			t.Fatal(err)
		}
		res, err := d.Segment(r.name, r.segments[0])
		if err != nil {
			t.Fatal(err)
		}
		rk, err := NewRekeyer(in, newChanges(keys), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rk.Segment(Place{Object: r.name}, bytes.Clone(res.Clear)); !errors.Is(err, ErrClear) {
			t.Errorf("%s: %v, want ErrClear", r.name, err)
		}
	}
	if !found {
		t.Fatal("no audio in the fixtures")
	}
}

// TestNotUpdated: data of a system that is not understood is kept and named; a
// list of KIDs without data is no such thing.
func TestNotUpdated(t *testing.T) {
	fairplay := []byte("\x94\xce\x86\xfb\x07\xff\x4f\x43\xad\xb8\x93\xd2\xfa\x96\x8c\xa2")
	a := newMadeTrack(1, 8)
	b := makeInit(a)
	in := mustInit(t, boxed("moov", b[8:], fullBox("pssh", 0, 0, fairplay, be(4, 3), []byte("abc"))))
	if got := in.NotUpdated(); len(got) != 1 || got[0] != "fairplay" {
		t.Errorf("not updated: %q, want fairplay", got)
	}
	if got := mustInit(t, b).NotUpdated(); len(got) != 0 {
		t.Errorf("without pssh: %q", got)
	}
}
