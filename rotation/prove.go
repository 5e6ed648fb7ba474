package rotation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/worker"
)

// proveObjects bounds the segments of a track that are looked at before work
// begins. What they leave undecided the workers go on weighing.
const proveObjects = 3

// proveError is what speaks against one object before any work.
type proveError struct {
	object string
	err    error
}

func (e *proveError) Error() string { return e.object + ": " + e.err.Error() }
func (e *proveError) Unwrap() error { return e.err }

// prove weighs the old keys of a plan by the media itself, before anything is
// written. A key that is wrong, and a segment that is not understood, stop the
// asset in its plan; an error means that the store could not be read.
func (e *Engine) prove(ctx context.Context, p *journal.Plan) error {
	if p.Refusal != nil {
		return nil
	}
	err := e.proveTracks(ctx, p)
	var against *proveError
	if !errors.As(err, &against) {
		return err
	}
	unsupported := errors.Is(err, cenc.ErrUnsupported) || errors.Is(err, hls.ErrUnsupported)
	p.Refusal = &journal.Refusal{Object: against.object, Reason: against.err.Error(), Failed: !unsupported}
	return nil
}

func (e *Engine) proveTracks(ctx context.Context, p *journal.Plan) error {
	keys := map[key.KID]key.ContentKey{}
	for _, k := range p.Keys {
		old, err := e.Ring.AsWorker().Unwrap(ctx, k.OldKID, keyring.Verify, p.Rotation)
		if errors.Is(err, keyring.ErrNotFound) {
			return &proveError{p.Asset, fmt.Errorf("no key record for KID %s", k.OldKID)}
		}
		if err != nil {
			return err
		}
		keys[k.OldKID] = old
	}
	for i := range p.Tracks {
		if !p.Tracks[i].Media {
			continue
		}
		if err := e.proveTrack(ctx, &p.Tracks[i], keys); err != nil {
			return err
		}
	}
	return nil
}

// proveTrack looks at segments until they decide.
func (e *Engine) proveTrack(ctx context.Context, t *journal.Track, keys map[key.KID]key.ContentKey) error {
	weigh, err := e.weigher(ctx, t, keys)
	if err != nil {
		return err
	}
	var clear, stored evidence.Evidence
	looked := 0
	for _, o := range t.Objects {
		if o.Init {
			continue
		}
		b, _, err := store.ReadAll(ctx, e.Media, o.From, o.ETag, worker.MaxObject, nil)
		if err != nil {
			return against(o.From, err)
		}
		w, err := weigh(o, b)
		var known *proveError
		if errors.As(err, &known) {
			return err
		}
		if err != nil {
			return &proveError{o.From, err}
		}
		clear.Add(w.clear)
		stored.Add(w.stored)
		looked++
		switch {
		case clear.Verdict() == evidence.Wrong && stored.Verdict() == evidence.Right:
			return &proveError{o.From, errors.New("it signals encryption, and what is stored is clear already")}
		case clear.Verdict() == evidence.Wrong:
			return &proveError{o.From, fmt.Errorf("%w: %d structural checks of the clear media failed in %d bytes", worker.ErrWrongKey, clear.Against, clear.Bytes)}
		case clear.Verdict() == evidence.Right && len(t.OldKIDs) == 1:
			t.Proved = true
			return nil
		case looked == proveObjects:
			return nil
		}
	}
	return nil
}

// against tells an error that is about one object from one about the store.
func against(object string, err error) error {
	switch {
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, store.ErrPrecondition):
		return &proveError{object, worker.ErrStale}
	case errors.Is(err, store.ErrNotFound):
		return &proveError{object, errors.New("missing: a manifest leads to it and it is not in the store")}
	default:
		return &proveError{object, err}
	}
}

// weighed is what one object says of the key: decrypted, and as it is stored.
type weighed struct{ clear, stored evidence.Evidence }

type weighFunc func(o journal.Object, src []byte) (weighed, error)

func (e *Engine) weigher(ctx context.Context, t *journal.Track, keys map[key.KID]key.ContentKey) (weighFunc, error) {
	if t.Format.InPlaylist() {
		decrypt := decrypters(t.Format)
		return func(o journal.Object, src []byte) (weighed, error) {
			r, err := openMessages(decrypt, o.Segment(), src, keys, nil)
			return weighed{clear: r.evidence, stored: r.stored}, err
		}, nil
	}
	// The rekeyer, and not the decrypter: it compares what it makes, too. That is
	// thrown away.
	trial := key.Changes{}
	for kid, k := range keys {
		trial[kid] = key.Change{Old: k, New: key.NewContentKey(), NewKID: key.NewKID()}
	}
	if t.Single {
		return func(o journal.Object, src []byte) (weighed, error) { return weighFile(t, o, src, keys, trial) }, nil
	}
	b, _, err := store.ReadAll(ctx, e.Media, t.Init.Key, t.Init.ETag, catalog.MaxInit, nil)
	if err != nil {
		return nil, against(t.Init.Key, err)
	}
	in, err := cenc.ParseInit(t.Init.Key, b)
	if err != nil {
		return nil, &proveError{t.Init.Key, err}
	}
	if err := checkValues(in, t.Init.Key, t, keys); err != nil {
		return nil, err
	}
	r, err := cenc.NewRekeyer(in, trial, cenc.Options{})
	if err != nil {
		return nil, &proveError{t.Init.Key, err}
	}
	return func(o journal.Object, src []byte) (weighed, error) {
		res, err := r.Segment(cenc.Place{Object: o.From}, src)
		if t.Readings == "" {
			t.Readings = res.Readings.String()
		}
		return weighed{clear: res.Evidence, stored: res.Stored}, err
	}, nil
}

// weighFile goes through a whole single file.
func weighFile(t *journal.Track, o journal.Object, src []byte, keys map[key.KID]key.ContentKey, trial key.Changes) (weighed, error) {
	f, err := cenc.OpenFile(o.From, bytes.NewReader(src), int64(len(src)))
	if err != nil {
		return weighed{}, err
	}
	if err := checkValues(f.Init(), o.From, t, keys); err != nil {
		return weighed{}, err
	}
	res, err := f.Rekey(io.Discard, cenc.Place{Object: o.From}, trial, cenc.FileOptions{})
	t.Readings = res.Readings.String()
	if errors.Is(err, cenc.ErrWrongKey) {
		err = fmt.Errorf("%w: %w", worker.ErrWrongKey, err)
	}
	return weighed{clear: res.Evidence, stored: res.Stored}, err
}

// checkValues compares the old keys with PlayReady's CHECKSUM, which is exact.
func checkValues(in *cenc.Init, object string, t *journal.Track, keys map[key.KID]key.ContentKey) error {
	t.Proved = true
	for _, kid := range t.OldKIDs {
		switch in.CheckKey(kid, keys[kid]) {
		case evidence.Wrong:
			return &proveError{object, fmt.Errorf("%w: the PlayReady CHECKSUM of KID %s does not match", worker.ErrWrongKey, kid)}
		case evidence.Undecided:
			t.Proved = false
		case evidence.Right:
		}
	}
	return nil
}
