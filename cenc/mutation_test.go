package cenc

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime/metrics"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
)

// Bounds of what one call may allocate, all together: a few times what it was
// given, and something for tables.
const (
	memoryTimes = 4
	memoryFixed = 8 << 20
)

// wholeMedia is every real file that there is: of other packagers, and the
// library's renditions, init section and segments one after another.
func wholeMedia(t testing.TB) []media {
	t.Helper()
	all := packagerMedia(t)
	keys := fixtureKeys(t)
	for _, r := range renditions(t, fixtures.Library()) {
		all = append(all, media{name: "library/" + r.name, file: r.file(), keys: keys})
	}
	return all
}

// TestMutations breaks the structure of real files, some thousand times, or
// REKEY_MUTATIONS times from seed REKEY_MUTATION_SEED. Each must be refused with
// an *Error or rekeyed to a file that is proved to be the same media; no silence,
// no panic, no memory out of proportion.
func TestMutations(t *testing.T) {
	total, seed := envNumber(t, "REKEY_MUTATIONS", 6000), envNumber(t, "REKEY_MUTATION_SEED", 1)
	tried := newTrial()
	all := wholeMedia(t)
	targets := make([]mutant, len(all))
	for i, m := range all {
		targets[i] = newMutant(t, m)
	}
	for n := range total {
		i := n % len(all)
		b, what := targets[i].mutate(rand.New(rand.NewPCG(uint64(seed), uint64(n))))
		if err := tried.run(&targets[i], b, what); err != nil {
			t.Errorf("mutation %d of %s, %s: %v", n, all[i].name, what, err)
			if dir := os.Getenv("REKEY_MUTATION_DIR"); dir != "" {
				_ = os.WriteFile(fmt.Sprintf("%s/%d.mp4", dir, n), b, 0o644)
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(tried.outcomes)) {
		t.Logf("%7d %s", tried.outcomes[k], k)
	}
	t.Logf("at most %d bytes over %d times the input, %v", tried.most, memoryTimes, tried.slowest)
	if total >= 1000 && (tried.outcomes["rekeyed"] == 0 || tried.outcomes[ErrMalformed.Error()] == 0) {
		t.Error("the mutations are all too weak or all too strong to test anything")
	}
}

// TestTablesClaimNoMemory: a small file whose moov claims two million samples of
// a byte is refused before they are listed.
func TestTablesClaimNoMemory(t *testing.T) {
	tried := newTrial()
	for _, m := range wholeMedia(t) {
		if m.name != "ffmpeg-cenc-progressive/movie" {
			continue
		}
		x := newMutant(t, m)
		b := bytes.Clone(m.file)
		for _, p := range x.boxes {
			switch p.typ {
			case "stsz":
				copy(b[p.at+12:], join(be(4, 1), be(4, 0x1ffff0)))
			case "stsc":
				copy(b[p.at+20:], be(4, 0x1ffff0))
			}
		}
		if err := tried.run(&x, b, "samples of a byte"); err != nil || tried.outcomes["rekeyed"] > 0 {
			t.Error(err, tried.outcomes)
		}
		return
	}
	t.Fatal("no progressive file")
}

func envNumber(t testing.TB, name string, otherwise int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// trial runs mutants and counts what they come to.
type trial struct {
	out, clear, again bytes.Buffer
	outcomes          map[string]int
	most              int64
	slowest           time.Duration
	sample            []metrics.Sample
}

func newTrial() *trial {
	return &trial{outcomes: map[string]int{}, sample: []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}}
}

func (tr *trial) allocated() int64 {
	metrics.Read(tr.sample)
	return int64(tr.sample[0].Value.Uint64())
}

// run rekeys one mutant; the error is a broken promise.
func (tr *trial) run(m *mutant, b []byte, what string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	for _, buf := range [...]*bytes.Buffer{&tr.out, &tr.clear, &tr.again} {
		buf.Reset()
		buf.Grow(len(b))
	}
	before, start := tr.allocated(), time.Now()
	w, res, failed := tr.rekey(m, b)
	tr.slowest = max(tr.slowest, time.Since(start))
	over := tr.allocated() - before - memoryTimes*int64(len(b))
	tr.most = max(tr.most, over)
	if over > memoryFixed {
		return fmt.Errorf("allocates %d bytes more than %d times its %d (%w)", over, memoryTimes, len(b), failed)
	}
	if failed != nil {
		var typed *Error
		if !errors.As(failed, &typed) || typed.Class == nil || typed.Object == "" {
			return fmt.Errorf("error of no class: %w", failed)
		}
		tr.outcomes[typed.Class.Error()]++
		return nil
	}
	return tr.prove(m, b, what, w, res)
}

// rekey is File.Rekey, and gives the pass too.
func (tr *trial) rekey(m *mutant, b []byte) (*filePass, FileResult, error) {
	f, err := OpenFile(m.name, bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, FileResult{}, err
	}
	w := f.pass(&tr.out, Place{Object: m.name, IVs: 5 << 48}, m.changes, FileOptions{Clear: &tr.clear})
	if err := w.addChanges(m.changes); err != nil {
		return nil, FileResult{}, err
	}
	res, err := w.run()
	return w, res, err
}

// prove checks a file that was taken.
func (tr *trial) prove(m *mutant, b []byte, what string, w *filePass, res FileResult) error {
	out, cl := tr.out.Bytes(), tr.clear.Bytes()
	if len(out) != len(b) || len(cl) != len(b) {
		return fmt.Errorf("%d bytes became %d, %d clear", len(b), len(out), len(cl))
	}
	for _, side := range []struct {
		b    []byte
		keys map[key.KID]key.ContentKey
	}{{b, m.keys}, {out, m.newKeys}} {
		tr.again.Reset()
		g, err := OpenFile(m.name, bytes.NewReader(side.b), int64(len(side.b)))
		if err == nil {
			_, err = g.Decrypt(side.keys, FileOptions{Clear: &tr.again})
		}
		if err != nil {
			return fmt.Errorf("decrypt again: %w", err)
		}
		if !bytes.Equal(tr.again.Bytes(), cl) {
			return errors.New("old and new have different clear forms")
		}
	}
	return tr.silence(m, b, what, w, res)
}

// silence looks for old ciphertext that was left without a word. A mutant may
// say itself that those bytes are not encrypted samples, which is counted by how
// it says so; else it is a defect.
func (tr *trial) silence(m *mutant, b []byte, what string, w *filePass, res FileResult) error {
	left := []span{}
	if out := tr.out.Bytes(); len(b) == len(m.file) {
		for _, run := range m.secret {
			if bytes.Equal(out[run.from:run.to], m.file[run.from:run.to]) {
				left = append(left, run)
			}
		}
	}
	if len(res.Kept) > 0 {
		tr.outcomes["rekeyed, with KIDs kept"]++
		return nil
	}
	if len(left) == 0 {
		tr.outcomes["rekeyed"]++
		return nil
	}
	why := w.excuse(m, left)
	if why == "" {
		return fmt.Errorf("%d of %d runs of old ciphertext are left, first %v, and nothing says so", len(left), len(m.secret), left[0])
	}
	tr.outcomes["left: "+why]++
	if os.Getenv("REKEY_MUTATION_LEFT") != "" {
		fmt.Printf("LEFT %s, %s: %s: %d of %d, %d samples\n", m.name, what, why, len(left), len(m.secret), res.Samples)
	}
	return nil
}

// excuse says why the runs in left are not encrypted samples, by the tables.
func (w *filePass) excuse(m *mutant, left []span) string {
	switch {
	case !w.in.Encrypted():
		return "no sample entry is a protected one"
	case w.inSamples(left) == 0:
		return "in no sample"
	}
	if w.patterned(m) {
		return "another scheme or pattern, which leaves other bytes clear"
	}
	for _, n := range w.bareOf {
		if n > 0 {
			return "no sample information, as a clear lead has none"
		}
	}
	for t := range w.in.tracks {
		for _, e := range w.in.tracks[t].entries {
			if e < 0 || !w.in.prots[e].protected {
				return "the sample entry says clear"
			}
		}
	}
	for i := range w.seg.prots {
		if !w.seg.prots[i].protected {
			return "the sample group says clear"
		}
	}
	return ""
}

// inSamples counts the runs of which most bytes lie in samples of any track,
// encrypted or not. Less proves nothing: schemes leave partial blocks clear.
func (w *filePass) inSamples(left []span) (n int) {
	if w.in.listed == 0 { // all fragments at once, moov out of the way
		b := make([]byte, w.file.size)
		if w.file.read(b, 0) != nil {
			return -1
		}
		copy(b[w.file.moov.start+4:], "free")
		w.seg.reset(w.in, w.file.object, b, 0, 0)
		if err := w.seg.scanWindow(); err != nil && len(w.seg.spans) > 0 {
			return -1
		}
	}
	for _, run := range left {
		covered := 0
		for _, x := range w.seg.spans {
			covered += max(0, min(x.to, run.to)-max(x.from, run.from))
		}
		if 2*covered > run.to-run.from {
			n++
		}
	}
	return n
}

// patterned tells whether some protection has another scheme or pattern than m.
func (w *filePass) patterned(m *mutant) bool {
	f, err := OpenFile(m.name, bytes.NewReader(m.file), int64(len(m.file)))
	return err == nil && slices.ContainsFunc(w.seg.prots, func(p protection) bool {
		return !slices.ContainsFunc(f.in.prots, func(q protection) bool {
			return p.scheme == q.scheme && p.crypt == q.crypt && p.skip == q.skip
		})
	})
}
