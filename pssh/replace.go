package pssh

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// maxReplacement bounds the DRM data of one system for one key. A PlayReady
// object has 15 KB at most (PlayReady Header Specification §2).
const maxReplacement = 64 << 10

// CheckReplacements returns what is wrong with the PSSH of ch, as an *Error of
// class ErrReplacement; nil where all of it may be used. Each must be one whole
// pssh box, of a system that the key has no other of. Where KIDs can be seen in
// it, the new KID must be among them, in its list and in its data, and no KID of
// ch that goes. A CHECKSUM of PlayReady must be the new key's.
func CheckReplacements(ch key.Changes) error {
	for kid, c := range ch {
		seen := map[[16]byte]bool{}
		for i, box := range c.PSSH {
			b, err := checkReplacement(box, c, ch)
			if err == nil && seen[b.System] {
				err = replacement(0, "a second box of system %s", SystemName(b.System))
			}
			if err != nil {
				return placed(err, kid, i)
			}
			seen[b.System] = true
		}
	}
	return nil
}

// placed says of which change the replacement is.
func placed(err *Error, kid key.KID, i int) error {
	err.Place = fmt.Sprintf("new DRM data[%d] of KID %v", i, kid)
	return err
}

func checkReplacement(box []byte, c key.Change, ch key.Changes) (Box, *Error) {
	if len(box) > maxReplacement {
		return Box{}, replacement(0, "%d bytes, more than %d", len(box), maxReplacement)
	}
	b, err := Parse(box)
	if err != nil {
		return b, replacement(0, "%v", err)
	}
	inside, err := b.dataKIDs()
	if err != nil {
		return b, replacement(b.dataAt, "%v", err)
	}
	for _, kids := range [][]key.KID{b.KIDs, inside} {
		if len(kids) > 0 && !slices.Contains(kids, c.NewKID) {
			return b, replacement(0, "data of %s does not name the new KID %v", SystemName(b.System), c.NewKID)
		}
		for _, kid := range kids {
			if _, goes := ch[kid]; goes {
				return b, replacement(0, "data of %s names KID %v, which goes", SystemName(b.System), kid)
			}
		}
	}
	if CheckKey(box, c.NewKID, c.New) == evidence.Wrong {
		return b, replacement(b.dataAt, "its CHECKSUM is not that of the new key")
	}
	return b, nil
}

// Replace returns the boxes that stand in the place of box, one after another,
// when the keys of ch change and the key service gave new data of its system; nil
// where it gave none, and [Rekey] says what becomes of the box.
//
// A box that names several KIDs becomes the new boxes of those that have one, each
// once, since a reader looks at all boxes of its system (ISO/IEC 23001-7 §8.1):
// first those of applies, since there are readers that look at the first alone,
// then the others in the order of the box. Where it names KIDs without new data, which may stay or
// change, the box itself follows them with its KIDs replaced by Rekey: else what
// leads to those keys would be lost.
//
// applies lists the keys of the media that the box stands with. A box that names
// none itself is for all of them, and is replaced if all have new data. nil: they
// are not known, and such a box stays.
//
// What is used of ch is checked as CheckReplacements does.
func Replace(box []byte, ch key.Changes, applies []key.KID) ([][]byte, error) {
	b, err := Parse(box)
	if err != nil {
		return nil, err
	}
	if !hasReplacements(ch) {
		return nil, nil
	}
	kids, err := KIDs(box)
	if err != nil {
		return nil, err
	}
	boxes, rest, err := successors(b.System, kids, applies, ch)
	if err != nil || !rest {
		return boxes, err
	}
	old, _, err := Rekey(box, ch)
	if err != nil {
		return nil, err
	}
	return append(boxes, old), nil
}

// ReplacePRO is Replace for a PlayReady object: the new objects are the data of
// the new PlayReady boxes.
func ReplacePRO(pro []byte, ch key.Changes, applies []key.KID) ([][]byte, error) {
	if !hasReplacements(ch) {
		return nil, nil
	}
	kids, err := PROKIDs(pro)
	if err != nil {
		return nil, err
	}
	boxes, rest, err := successors(PlayReady, kids, applies, ch)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, box := range boxes {
		b, err := Parse(box)
		if err != nil {
			return nil, err
		}
		out = append(out, b.Data)
	}
	if !rest {
		return out, nil
	}
	old, _, err := RekeyPRO(pro, ch)
	if err != nil {
		return nil, err
	}
	return append(out, old), nil
}

// successors collects the new boxes of a system for the KIDs that its data names.
// rest tells that some of these KIDs have none, where others have.
func successors(system [16]byte, kids, applies []key.KID, ch key.Changes) (boxes [][]byte, rest bool, err error) {
	named := len(kids) > 0
	if !named {
		kids = applies
	} else {
		kids = slices.Clone(kids)
		slices.SortStableFunc(kids, func(a, b key.KID) int { return order(applies, a) - order(applies, b) })
	}
	for _, kid := range kids {
		box, err := replacementOf(system, kid, ch)
		if err != nil {
			return nil, false, err
		}
		if box == nil {
			rest = true
			continue
		}
		if !slices.ContainsFunc(boxes, func(b []byte) bool { return bytes.Equal(b, box) }) {
			boxes = append(boxes, box)
		}
	}
	if len(boxes) == 0 || rest && !named {
		return nil, false, nil
	}
	return boxes, rest, nil
}

// order is the place of a KID among those that go first.
func order(first []key.KID, kid key.KID) int {
	if i := slices.Index(first, kid); i >= 0 {
		return i
	}
	return len(first)
}

// replacementOf is the new box of a system for what becomes of kid; nil: none.
func replacementOf(system [16]byte, kid key.KID, ch key.Changes) ([]byte, error) {
	c := ch[kid]
	for i, box := range c.PSSH {
		b, err := checkReplacement(box, c, ch)
		if err != nil {
			return nil, placed(err, kid, i)
		}
		if b.System == system {
			return box, nil
		}
	}
	return nil, nil
}

func hasReplacements(ch key.Changes) bool {
	for _, c := range ch {
		if len(c.PSSH) > 0 {
			return true
		}
	}
	return false
}
