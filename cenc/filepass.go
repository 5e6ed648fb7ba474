package cenc

import (
	"fmt"
	"io"
	"slices"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

// Rekey writes the file to out under the new keys: as many bytes as it has, in
// order. What out got is of no use on an error. Every window is read again,
// decrypted and compared before it is written.
//
// ErrWrongKey is returned when the evidence of the media read so far, pooled,
// says that an old key is wrong; ErrClear when the media is not encrypted at
// all. Undecided evidence is no error: the caller looks.
func (f *File) Rekey(out io.Writer, p Place, ch key.Changes, o FileOptions) (FileResult, error) {
	w := f.pass(out, p, ch, o)
	if err := w.addChanges(ch); err != nil {
		return FileResult{}, err
	}
	return w.run()
}

// Decrypt gives the clear form to o.Clear. Samples of KIDs that ks lacks stay as
// they are. Errors are Rekey's.
func (f *File) Decrypt(ks map[key.KID]key.ContentKey, o FileOptions) (FileResult, error) {
	w := f.pass(nil, Place{Object: f.object}, nil, o)
	if err := w.addKeys(ks); err != nil {
		return FileResult{}, err
	}
	return w.run()
}

// filePass is one way through a file.
type filePass struct {
	pass
	file    *File
	out     io.Writer // nil: only the clear form is wanted
	place   Place
	changes key.Changes
	o       FileOptions

	ivs      []ivPlace // of a progressive file, in its order
	done     int       // all bytes before are written
	samples  int       // of all tracks so far
	pooled   map[pool]evidence.Evidence
	stored   map[pool]evidence.Evidence
	windows  int // since the evidence went wrong
	names    []string
	mismatch int
	bareOf   []int // by track: samples without the IV they need
	madeOf   []int // by track: samples with all they need
}

// pool is what evidence is pooled over.
type pool struct {
	track int
	kid   key.KID
}

func (f *File) pass(out io.Writer, p Place, ch key.Changes, o FileOptions) *filePass {
	return &filePass{pass: newPass(f.in, o.Readings), file: f, out: out, place: p, changes: ch, o: o,
		bareOf: make([]int, len(f.in.tracks)), madeOf: make([]int, len(f.in.tracks)),
		pooled: map[pool]evidence.Evidence{}, stored: map[pool]evidence.Evidence{}}
}

func (w *filePass) run() (FileResult, error) {
	if err := w.file.Supported(); err != nil {
		return FileResult{}, err
	}
	w.begin()
	var err error
	switch {
	case !w.in.Encrypted():
		err = w.copyTo(w.file.size)
	case w.in.listed > 0:
		err = w.progressive()
	default:
		err = w.fragments()
	}
	if err != nil {
		return FileResult{}, err
	}
	return w.result()
}

// countTracks adds the samples of a window, or of the whole of a progressive file.
func (w *filePass) countTracks() {
	for i := range w.seg.bare {
		w.bareOf[w.seg.prots[w.seg.bare[i].prot].track]++
	}
	for i := range w.seg.samples {
		w.madeOf[w.seg.prots[w.seg.samples[i].prot].track]++
	}
}

// result pools what all windows came to.
func (w *filePass) result() (FileResult, error) {
	for t, n := range w.bareOf {
		if n > 0 && w.madeOf[t] == 0 {
			return FileResult{}, w.seg.unsupported(w.in.base, "track %d is encrypted, and none of its %d samples has an IV", w.in.tracks[t].ID, n)
		}
	}
	w.seg.mismatch = w.mismatch
	res := FileResult{
		Samples: w.count, Protected: w.protected, Readings: w.read, Findings: w.findings(), Kept: slices.Clone(w.kept), NotUpdated: w.names,
		Evidence: weakestOf(w.pooled), Stored: weakestOf(w.stored),
	}
	res.ByKID = map[key.KID]evidence.Evidence{}
	for at, e := range w.pooled {
		sum := res.ByKID[at.kid]
		sum.Add(e)
		res.ByKID[at.kid] = sum
	}
	return res, w.wrong(true)
}

func weakestOf(pooled map[pool]evidence.Evidence) evidence.Evidence {
	list := make([]evidence.Evidence, 0, len(pooled))
	for _, e := range pooled {
		list = append(list, e)
	}
	return weakest(list)
}

// patience is how many windows more are looked at when the key seems wrong, to
// tell whether the media was clear all along.
const patience = 8

// wrong is the error that the evidence so far amounts to, or nil.
func (w *filePass) wrong(last bool) error {
	counted := false
	for at, e := range w.pooled {
		if e.Verdict() != evidence.Wrong {
			continue
		}
		if !counted {
			w.windows, counted = w.windows+1, true
		}
		if s := w.stored[at]; s.Verdict() == evidence.Right {
			return w.seg.fail(ErrClear, w.done, "%d bytes signalled as encrypted are clear media as they stand", w.protected)
		}
		if last || w.windows > patience {
			return w.seg.fail(ErrWrongKey, w.done, "KID %v: %d of its decrypted bytes break the rules of the codec at %d places", at.kid, e.Bytes, e.Against)
		}
	}
	return nil
}

// inPlace is where the new window is made: over the old one, so that a file needs
// no more memory than two windows. nil where only the clear form is wanted.
func (w *filePass) inPlace(src []byte) []byte {
	if w.out == nil {
		return nil
	}
	return src
}

// weighWindow pools what one window showed, of which nothing is at hand any more
// as it was stored.
func (w *filePass) weighWindow(samples []sample, from, to int) error {
	if w.read.Tails != TailsUnknown {
		w.known.Tails = w.read.Tails
	}
	if w.read.Pattern != PatternUnknown {
		w.known.Pattern = w.read.Pattern
	}
	bad := false
	w.collect(w.pooled, &bad)
	if !bad {
		return nil
	}
	src := make([]byte, to-from)
	if err := w.file.read(src, from); err != nil {
		return err
	}
	w.pass.stored(samples, from, src)
	w.collect(w.stored, new(bool))
	return nil
}

func (w *filePass) collect(into map[pool]evidence.Evidence, bad *bool) {
	for i := range w.tallies {
		if w.tallies[i].bytes == 0 {
			continue
		}
		p := &w.seg.prots[i]
		at := pool{p.track, p.kid}
		e := into[at]
		e.Add(w.tallies[i].weigh())
		into[at] = e
		*bad = *bad || e.Verdict() == evidence.Wrong
	}
}

// copyTo writes the bytes up to to as they are, some MiB at a time; moov among
// them gets its new names.
func (w *filePass) copyTo(to int) error {
	const most = 4 << 20
	for w.done < to {
		if m := w.file.moov; w.done == m.start {
			if err := w.writeMoov(); err != nil {
				return err
			}
			continue
		}
		n := min(to-w.done, most)
		if m := w.file.moov.start; w.done < m {
			n = min(n, m-w.done)
		}
		b, err := w.file.window(w.done, w.done+n)
		if err != nil {
			return err
		}
		if err := w.write(b, b); err != nil {
			return err
		}
	}
	return nil
}

// writeMoov writes moov with its new KIDs, and the new IVs that stand in it.
func (w *filePass) writeMoov() error {
	in := w.in
	cl := slices.Clone(in.b)
	blankNames(cl, in.base, in.kidAt, in.pssh)
	if w.out == nil {
		w.patch(in.base, nil, cl)
		return w.write(nil, cl)
	}
	out := slices.Clone(in.b)
	putKIDs(out, in.base, in.kidAt, w.changes)
	r := &reader{object: in.object, b: in.b, base: in.base}
	r.push(typeMoov, 0)
	names, err := r.rekeyPSSH(out, in.pssh, naming{changes: w.changes, applies: in.opaqueKIDs()})
	if err != nil {
		return err
	}
	w.named(names)
	w.patch(in.base, out, cl)
	if err := w.checkMoov(out); err != nil {
		return err
	}
	return w.write(out, cl)
}

func (w *filePass) named(names named) {
	w.noteAll(names.notes)
	for _, n := range names.kept {
		if !slices.Contains(w.names, n) {
			w.names = append(w.names, n)
		}
	}
}

// write hands out the next bytes of the new file and of its clear form.
func (w *filePass) write(out, cl []byte) error {
	if w.out != nil {
		if _, err := w.out.Write(out); err != nil {
			return fmt.Errorf("write %s: %w", w.place.Object, err)
		}
	}
	if w.o.Clear != nil {
		if _, err := w.o.Clear.Write(cl); err != nil {
			return fmt.Errorf("write clear form of %s: %w", w.place.Object, err)
		}
	}
	w.done += len(cl)
	if w.o.Progress != nil {
		w.o.Progress(int64(w.done))
	}
	return nil
}
