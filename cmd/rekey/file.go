package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/cenc"
	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/key"
)

const fileHelp = `Rekey one MP4 that has its moov with it, progressive or fragmented, without a
queue, a media root or a control prefix.

IN is a path, or - for standard input; what cannot be read in place is first
copied, still encrypted, to a nameless file in TMPDIR, because the moov may come
last. OUT is a path, or - for standard output.

--keys FILE (or -) has a line for each key that changes:

    OLDKID:OLDKEY NEWKID:NEWKEY
    OLDKID:OLDKEY

each 32 hex digits. The second form makes a new KID and key at random. They go
to the file of --new-keys, which is then required: without them the media is
lost. That file gets all new keys as lines KID:KEY, is made 0600, never written
over, and is on disk before OUT appears. Empty lines and lines that begin with #
count for nothing. KIDs that have no line stay as they are.

OUT appears whole or not at all: it is written beside its place, synced and
renamed, with the mode of IN (0600 where IN is a pipe). With OUT - the bytes
leave as they are made, and only the exit status, read after the last of them,
says whether they are worth anything: wait for 0.

IVs. AES-CTR under one key must never count through the same block twice: where
it does, the XOR of the two clear texts can be read off. IVs therefore begin at
a random 64-bit number; among 1000 files of a million samples under one new key,
two meet with a chance of about 10^-7. --ivs TRACK/NUMBER begins at a number of
your own instead (TRACK<<48 | NUMBER<<24, one up for each sample), so that a
second run gives the same bytes. Then you answer for it that no two files under
one new key ever have the same TRACK/NUMBER, and that nothing else encrypts
under that key. A new key for each file is the safe way.

An old key that the media does not prove (right media always has structures that
random bytes almost never have) stops the file, unless --accept-unproved.

`

// fileOptions are the arguments and flags of rekey file.
type fileOptions struct {
	in, out, keys, newKeys, ivs            string
	force, acceptUnproved, progress, quiet bool
}

func (a *app) fileCommand(open openMedia) *cobra.Command {
	var o fileOptions
	c := &cobra.Command{
		Use: "file IN OUT --keys FILE", Short: "Rekey one MP4 file, without a queue", Long: fileHelp + exitHelp, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.in, o.out = args[0], args[1]
			return a.file(cmd.Context(), open, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.keys, "keys", "", "file of lines OLDKID:OLDKEY [NEWKID:NEWKEY]; - for standard input")
	f.StringVar(&o.newKeys, "new-keys", "", "file to make, 0600, with the new keys as lines KID:KEY")
	f.StringVar(&o.ivs, "ivs", "", "TRACK/NUMBER that IVs are made from, instead of at random; dangerous, see above")
	f.BoolVar(&o.force, "force", false, "replace OUT where it exists, even where it is IN")
	f.BoolVar(&o.acceptUnproved, "accept-unproved", false, "write OUT even where the media does not prove the old key")
	f.BoolVar(&o.progress, "progress", false, "show progress always (default: on a terminal, for more than 64 MiB)")
	f.BoolVar(&o.quiet, "quiet", false, "say nothing but errors")
	return c
}

// file checks the command line before it reads anything, then opens IN and the
// media in it.
func (a *app) file(ctx context.Context, open openMedia, o fileOptions) error {
	ivs, err := a.checkFile(o)
	if err != nil {
		return err
	}
	list, err := a.readFileKeys(ctx, o.keys)
	if err != nil {
		return err
	}
	if n := list.minted(); n > 0 && o.newKeys == "" {
		return usagef("%d lines of %s name no new key: one is made, and without --new-keys FILE nobody would learn it", n, o.keys)
	}
	in, err := a.openInput(ctx, o.in)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	m, err := open(in.name, in, in.size)
	if err := ended(ctx, err); err != nil {
		return err
	}
	job := fileJob{app: a, o: o, in: in, media: m, list: list, ivs: ivs}
	return job.run(ctx)
}

// fileJob is one file that was opened and understood.
type fileJob struct {
	app   *app
	o     fileOptions
	in    *input
	media media
	list  fileKeys
	ivs   uint64
}

// run does the work in this order: what can be refused is, OUT's place is
// taken, the new keys are on disk, the bytes are written, the old key is
// weighed, OUT appears. New keys go again where no byte under them was given
// away.
func (j *fileJob) run(ctx context.Context) (err error) {
	r, err := j.look()
	if err := ended(ctx, err); err != nil {
		return err
	}
	out, err := j.app.openOutput(ctx, j.o, j.in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.discard()) }()
	if j.o.newKeys != "" {
		if err := j.list.write(j.o.newKeys); err != nil {
			return err
		}
		defer func() {
			if err != nil && !out.given() {
				err = errors.Join(err, removeFile(j.o.newKeys))
			}
		}()
	}
	if err := j.rekey(ctx, out, r); err != nil {
		if out.given() {
			return fmt.Errorf("%w; the bytes that are out already must not be used", err)
		}
		return err
	}
	if err := out.commit(ctx); err != nil {
		return err
	}
	if j.o.quiet {
		return nil
	}
	return j.app.printFile(r)
}

// look compares the keys with what the file says of itself. errNoUse
// where no key is of use, cenc.ErrWrongKey where a check value says so.
func (j *fileJob) look() (*fileReport, error) {
	kids, err := j.media.KIDs()
	if err != nil {
		return nil, err
	}
	r := newFileReport(j.o.in, j.o.out)
	if err := j.list.split(j.o.keys, kids, r); err != nil {
		return nil, err
	}
	if len(r.KIDs) == 0 {
		return nil, j.nothing()
	}
	ch := j.list.changes()
	r.checked = true
	for _, p := range r.KIDs {
		switch j.media.CheckKey(p.Old, ch[p.Old].Old) {
		case evidence.Wrong:
			return nil, fmt.Errorf("rekey %s: %w: the PlayReady CHECKSUM of KID %s does not match", j.in.name, cenc.ErrWrongKey, p.Old)
		case evidence.Undecided:
			r.checked = false
		case evidence.Right:
		}
	}
	return r, nil
}

func (j *fileJob) nothing() error {
	return fmt.Errorf("rekey %s: %w: no sample is encrypted under a KID of %s", j.in.name, errNoUse, j.o.keys)
}

// rekey writes everything to out and judges what was written.
func (j *fileJob) rekey(ctx context.Context, out io.Writer, r *fileReport) error {
	show := j.app.newProgress(j.o, j.in.size)
	count := &counter{w: out}
	res, err := j.media.Rekey(count, j.ivs, j.list.changes(), show.at)
	show.end()
	if err := ended(ctx, err); err != nil {
		return fmt.Errorf("rekey %s: %w", j.in.name, err)
	}
	if count.n != j.in.size {
		return fmt.Errorf("rekey %s: %d bytes came of %d", j.in.name, count.n, j.in.size)
	}
	if err := j.in.unchanged(); err != nil {
		return err
	}
	if res.Samples == 0 {
		return j.nothing()
	}
	r.fill(res)
	switch r.verdict {
	case evidence.Wrong:
		return fmt.Errorf("rekey %s: %w: %d checks that right media cannot fail failed in %d bytes", j.in.name, cenc.ErrWrongKey, res.Evidence.Against, res.Evidence.Bytes)
	case evidence.Undecided:
		if !j.o.acceptUnproved {
			return fmt.Errorf("rekey %s: %w (%s); --accept-unproved writes it all the same", j.in.name, errUnproved, r.odds())
		}
	case evidence.Right:
	}
	return nil
}

// ended is the interrupt where there was one: what it broke says nothing.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// counter counts what goes through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// media is what the command needs of a file; package cenc has it.
type media interface {
	// KIDs are all KIDs that samples are encrypted under.
	KIDs() ([]key.KID, error)
	// CheckKey compares k with a check value in the file.
	CheckKey(kid key.KID, k key.ContentKey) evidence.Verdict
	// Rekey writes the whole file to out, in order; sample i gets the IV ivs+i.
	Rekey(out io.Writer, ivs uint64, ch key.Changes, progress func(done int64)) (mediaResult, error)
}

// openMedia reads what a file says of itself.
type openMedia func(object string, src io.ReaderAt, size int64) (media, error)
