package rotation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/store"
)

// opened is one decrypted object.
type opened struct {
	clear    []byte
	evidence evidence.Evidence
	stored   evidence.Evidence          // what the object says as it is stored
	kids     map[key.KID]key.ContentKey // it was decrypted with
}

// within tells whether no other keys had a part in it.
func (o opened) within(kids map[key.KID]bool) bool {
	for kid := range o.kids {
		if !kids[kid] {
			return false
		}
	}
	return true
}

// openFunc decrypts one object, with all keys of its track or, where only is not
// nil, with those in it.
type openFunc func(s catalog.Segment, b []byte, only map[key.KID]bool) (opened, error)

// opener decrypts the objects of one track; nil for a clear one. It also reports
// whether check values prove every key of the track.
func (v *verifier) opener(ctx context.Context, t catalog.Track) (openFunc, bool, error) {
	if t.Format == catalog.Clear {
		return nil, false, nil
	}
	keys := map[key.KID]key.ContentKey{}
	for _, kid := range t.KIDs {
		k, err := v.e.Ring.Unwrap(ctx, kid, keyring.Verify, "")
		if err != nil {
			return nil, false, err
		}
		keys[kid] = k
	}
	switch {
	case t.Format.InPlaylist():
		decrypt := decrypters(t.Format)
		return func(s catalog.Segment, b []byte, only map[key.KID]bool) (opened, error) {
			return openMessages(decrypt, s, b, keys, only)
		}, false, nil
	case t.Single:
		return openFile(keys), false, nil
	}
	return v.cencOpener(ctx, t, keys)
}

// openFile decrypts a single file.
func openFile(keys map[key.KID]key.ContentKey) openFunc {
	return func(s catalog.Segment, b []byte, only map[key.KID]bool) (opened, error) {
		f, err := cenc.OpenFile(s.Key, bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return opened{}, err
		}
		if _, err := checkKeys(f.Init(), keys); err != nil {
			return opened{}, err
		}
		some := subset(keys, only)
		var clear bytes.Buffer
		clear.Grow(len(b))
		r, err := f.Decrypt(some, cenc.FileOptions{Clear: &clear})
		if err == nil && only == nil && len(r.Kept) > 0 {
			err = fmt.Errorf("samples under KID %s, which the track does not name", r.Kept[0])
		}
		return opened{clear: clear.Bytes(), evidence: r.Evidence, kids: some}, err
	}
}

func subset(keys map[key.KID]key.ContentKey, only map[key.KID]bool) map[key.KID]key.ContentKey {
	some := maps.Clone(keys)
	if only != nil {
		maps.DeleteFunc(some, func(kid key.KID, _ key.ContentKey) bool { return !only[kid] })
	}
	return some
}

// checkKeys compares keys with PlayReady's CHECKSUM, which is exact; it reports
// whether it proves all of them.
func checkKeys(in *cenc.Init, keys map[key.KID]key.ContentKey) (proved bool, err error) {
	proved = true
	for kid, k := range keys {
		switch in.CheckKey(kid, k) {
		case evidence.Wrong:
			return false, fmt.Errorf("the PlayReady CHECKSUM of KID %s does not match", kid)
		case evidence.Undecided:
			proved = false
		case evidence.Right:
		}
	}
	return proved, nil
}

func (v *verifier) cencOpener(ctx context.Context, t catalog.Track, keys map[key.KID]key.ContentKey) (openFunc, bool, error) {
	if t.Init == nil {
		return nil, false, errors.New("the track has no init section")
	}
	b, _, err := store.ReadAll(ctx, v.e.Media, t.Init.Key, t.Init.ETag, catalog.MaxInit, nil)
	if err != nil {
		return nil, false, err
	}
	in, err := cenc.ParseInit(t.Init.Key, b)
	if err != nil {
		return nil, false, err
	}
	proved, err := checkKeys(in, keys)
	if err != nil {
		return nil, false, err
	}
	var known cenc.Readings
	return func(s catalog.Segment, b []byte, only map[key.KID]bool) (opened, error) {
		some := subset(keys, only)
		d, err := cenc.NewDecrypter(in, some, cenc.Options{Readings: known})
		if err != nil {
			return opened{}, err
		}
		r, err := d.Segment(s.Key, b)
		if r.Readings != (cenc.Readings{}) {
			known = r.Readings
		}
		if err == nil && only == nil && len(r.Kept) > 0 {
			err = fmt.Errorf("samples under KID %s, which the track does not name", r.Kept[0])
		}
		return opened{clear: r.Clear, evidence: r.Evidence, kids: some}, err
	}, proved, nil
}
