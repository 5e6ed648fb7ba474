package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
)

// rekeyFunc rewrites one object. Its result may alias buffers until the next
// call.
type rekeyFunc func(o journal.Object, src []byte) (result, error)

func (w *Worker) rekeyer(ctx context.Context, t journal.Track, ch key.Changes) (rekeyFunc, error) {
	switch {
	case t.Single:
		return fileRekeyer(t, ch)
	case t.Init != nil && !t.Media:
		return w.initRekeyer(ctx, t, ch)
	case t.Format == catalog.CENC:
		return w.cencRekeyer(ctx, t, ch)
	case t.Format == catalog.AES128:
		return messageRekeyer(t, ch, aesMessages), nil
	case t.Format == catalog.SampleAES:
		return messageRekeyer(t, ch, sampleMessages), nil
	default:
		return nil, fmt.Errorf("rekey track %s: format %q has no rekeyer", t.ID, t.Format)
	}
}

// initRekeyer is of a track whose media stays: its init section names a KID that
// changes, in a PSSH box.
func (w *Worker) initRekeyer(ctx context.Context, t journal.Track, ch key.Changes) (rekeyFunc, error) {
	in, err := w.parseInit(ctx, t)
	if err != nil {
		return nil, err
	}
	return func(journal.Object, []byte) (result, error) { return rekeyInit(in, t, ch) }, nil
}

// rekeyInit gives the init section its new names, and the DRM data that a key
// service gave. It holds no media: its clear form is itself. It may become longer
// only where no manifest says how long it is.
func rekeyInit(in *cenc.Init, t journal.Track, ch key.Changes) (result, error) {
	r, err := in.RekeyWith(nil, ch, cenc.InitOptions{AllowGrowth: !t.InitFixed})
	return result{out: r.Out, clear: r.Out, findings: told(t.Init.Key, r.NotUpdated, r.Findings)}, err
}

// told says what there is to know of an object: what was found in it, and the
// protection systems whose data may still name an old key, for all that can be
// told.
func told(object string, systems []string, found []cenc.Finding) (findings []string) {
	for _, s := range systems {
		findings = append(findings, object+": pssh data of "+s+" is kept as it was")
	}
	for _, f := range found {
		findings = append(findings, object+": "+f.String())
	}
	return findings
}

func (w *Worker) parseInit(ctx context.Context, t journal.Track) (*cenc.Init, error) {
	if t.Init == nil {
		return nil, fmt.Errorf("rekey track %s: it has no init section", t.ID)
	}
	b, err := w.loadInit(ctx, *t.Init)
	if err != nil {
		return nil, err
	}
	return cenc.ParseInit(t.Init.Key, b)
}

func (w *Worker) cencRekeyer(ctx context.Context, t journal.Track, ch key.Changes) (rekeyFunc, error) {
	in, err := w.parseInit(ctx, t)
	if err != nil {
		return nil, err
	}
	readings, err := cenc.ParseReadings(t.Readings)
	if err != nil {
		return nil, err
	}
	segments, err := cenc.NewRekeyer(in, ch, cenc.Options{Readings: readings})
	if err != nil {
		return nil, err
	}
	return func(o journal.Object, src []byte) (result, error) {
		if o.Init {
			return rekeyInit(in, t, ch)
		}
		ivs, err := cenc.StructuredIVs(t.Number, o.Number)
		if err != nil {
			return result{}, err
		}
		r, err := segments.Segment(cenc.Place{Object: o.From, IVs: ivs}, src)
		if err != nil {
			return result{}, err
		}
		if err := known(t, r.Kept); err != nil {
			return result{}, err
		}
		found := told(o.From, nil, r.Findings)
		return result{out: r.Out, clear: r.Clear, evidence: r.Evidence, byKID: several(t, r.ByKID), findings: found}, nil
	}, nil
}

// ErrUnknownKID: samples are under a key that the plan knows nothing of. Whoever
// asks who uses that key would not be told of this asset.
var ErrUnknownKID = errors.New("samples under a KID that the scan did not find")

// known checks that the samples that stay as they are stay under known keys.
func known(t journal.Track, kept []key.KID) error {
	for _, kid := range kept {
		if !slices.Contains(t.KIDs, kid) {
			return fmt.Errorf("%w: %s", ErrUnknownKID, kid)
		}
	}
	return nil
}

// several is the evidence by key where a track has more than one old key.
func several(t journal.Track, by map[key.KID]evidence.Evidence) map[key.KID]evidence.Evidence {
	if len(t.OldKIDs) < 2 {
		return nil
	}
	return by
}

// fileRekeyer is of a track in a single file.
func fileRekeyer(t journal.Track, ch key.Changes) (rekeyFunc, error) {
	readings, err := cenc.ParseReadings(t.Readings)
	if err != nil {
		return nil, err
	}
	return func(o journal.Object, src []byte) (result, error) {
		f, err := cenc.OpenFile(o.From, bytes.NewReader(src), int64(len(src)))
		if err != nil {
			return result{}, err
		}
		ivs, err := cenc.StructuredIVs(t.Number, o.Number)
		if err != nil {
			return result{}, err
		}
		var out, clear bytes.Buffer
		out.Grow(len(src))
		clear.Grow(len(src))
		options := cenc.FileOptions{Options: cenc.Options{Readings: readings}, Clear: &clear}
		r, err := f.Rekey(&out, cenc.Place{Object: o.From, IVs: ivs}, ch, options)
		if err != nil {
			return result{}, err
		}
		if err := known(t, r.Kept); err != nil {
			return result{}, err
		}
		found := told(o.From, r.NotUpdated, r.Findings)
		return result{out: out.Bytes(), clear: clear.Bytes(), evidence: r.Evidence, byKID: several(t, r.ByKID), findings: found}, nil
	}, nil
}
