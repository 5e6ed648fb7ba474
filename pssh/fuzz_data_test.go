package pssh

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// boxAround wraps data of a system as a box of version 0.
func boxAround(system [16]byte, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(32+len(data)))
	b = append(b, "pssh\x00\x00\x00\x00"...)
	b = append(b, system[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// FuzzWidevine: data that is taken keeps its length and every field but the key
// IDs, and parses again with the new ones.
func FuzzWidevine(f *testing.F) {
	seeds := 0
	for _, box := range fixtureBoxes(f) {
		if b, err := Parse(box); err == nil && b.System == Widevine {
			f.Add(b.Data)
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("no Widevine data in the fixtures")
	}
	ch := newChanges(fixtureKeys(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		box := boxAround(Widevine, data)
		was, err := KIDs(box)
		if err != nil {
			return
		}
		out, updated, err := Rekey(box, ch)
		if err != nil {
			return
		}
		if len(out) != len(box) || updated == bytes.Equal(out, box) {
			t.Fatalf("updated %v, %d bytes of %d", updated, len(out), len(box))
		}
		now, err := KIDs(out)
		if err != nil {
			t.Fatalf("rekeyed data no longer parses: %v", err)
		}
		for _, kid := range was {
			if c, ok := ch[kid]; ok && !slices.Contains(now, c.NewKID) {
				t.Errorf("KID %v did not become %v", kid, c.NewKID)
			}
		}
	})
}

// FuzzListed: a box of version 1 of any system: its list changes where its data
// can't contradict it, and stays where it can.
func FuzzListed(f *testing.F) {
	seeds := 0
	for _, box := range fixtureBoxes(f) {
		if b, err := Parse(box); err == nil && b.Version == 1 {
			for _, system := range [][16]byte{Common, ClearKey, FairPlay, Marlin, {1, 2, 3}} {
				other := bytes.Clone(box)
				copy(other[12:28], system[:])
				f.Add(other)
				seeds++
			}
		}
	}
	if seeds == 0 {
		f.Fatal("no box of version 1 in the fixtures")
	}
	ch := newChanges(fixtureKeys(f))
	f.Fuzz(func(t *testing.T, box []byte) {
		b, err := Parse(box)
		if err != nil {
			return
		}
		out, updated, err := Rekey(box, ch)
		if err != nil {
			return
		}
		again, err := Parse(out)
		if err != nil || len(again.KIDs) != len(b.KIDs) || len(out) != len(box) {
			t.Fatalf("%d KIDs became %d: %v", len(b.KIDs), len(again.KIDs), err)
		}
		for i, kid := range b.KIDs {
			want := kid
			if c, ok := ch[kid]; ok && updated {
				want = c.NewKID
			}
			if again.KIDs[i] != want {
				t.Errorf("KID %v became %v, want %v", kid, again.KIDs[i], want)
			}
		}
	})
}
