package rotation_test

import (
	"context"
	"crypto/rand"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/store/storetest"
	"github.com/seed-6133abe0/rekey/worker"
)

// lab is one small library and rekey's own state, in directories.
type lab struct {
	t              *testing.T
	dir            string
	media, control store.Store
	clock          *clock
}

// clock goes on a little whenever somebody looks.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(50 * time.Millisecond)
	return c.now
}

// stockedLab has three assets, indexed: clip and twin share a key object, short is
// CENC.
func stockedLab(t *testing.T) *lab {
	t.Helper()
	l := openLab(t, t.TempDir())
	for _, name := range []string{"clip", "short"} {
		sub, err := fs.Sub(fixtures.Library(), name)
		l.must(err)
		l.must(os.CopyFS(filepath.Join(l.dir, "media", name), sub))
	}
	for _, name := range []string{"seg_000.ts", "seg_001.ts"} {
		l.copy("clip/vhi/"+name, "twin/"+name)
	}
	list := l.read("clip/vhi/stream.m3u8")
	head, _, _ := strings.Cut(list, "#EXTINF")
	head = strings.Replace(head, "../key.bin", "../clip/key.bin", 1)
	l.write("twin/stream.m3u8", head+"#EXTINF:1.000000,\nseg_000.ts\n#EXTINF:1.000000,\nseg_001.ts\n#EXT-X-ENDLIST\n")
	l.write("twin/master.m3u8", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=400000\nstream.m3u8\n")
	l.index()
	return l
}

func openLab(t *testing.T, dir string) *lab {
	t.Helper()
	l := &lab{t: t, dir: dir, clock: &clock{now: time.Date(2026, 5, 4, 11, 50, 1, 0, time.UTC)}}
	for _, name := range []string{"media", "control"} {
		l.must(os.MkdirAll(filepath.Join(dir, name), 0o700))
	}
	var err error
	l.media, err = store.OpenDir(filepath.Join(dir, "media"))
	l.must(err)
	l.control, err = store.OpenDir(filepath.Join(dir, "control"))
	l.must(err)
	return l
}

// again is a copy of the lab as it stands.
func (l *lab) again(t *testing.T) *lab {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"media", "control"} {
		l.must(os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(l.dir, name))))
	}
	b, err := os.ReadFile(filepath.Join(l.dir, "master.key"))
	l.must(err)
	l.must(os.WriteFile(filepath.Join(dir, "master.key"), b, 0o600))
	c := openLab(t, dir)
	c.clock.now = l.clock.read()
	return c
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) read(name string) string {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, "media", name))
	l.must(err)
	return string(b)
}

func (l *lab) write(name, text string) {
	l.t.Helper()
	name = filepath.Join(l.dir, "media", name)
	l.must(os.MkdirAll(filepath.Dir(name), 0o700))
	l.must(os.WriteFile(name, []byte(text), 0o600))
}

func (l *lab) copy(from, to string) { l.t.Helper(); l.write(to, l.read(from)) }

// index imports the keys and scans.
func (l *lab) index() {
	l.t.Helper()
	e := l.engine()
	for line := range strings.Lines(string(fixtures.Keys())) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ":")
		kid, err := key.ParseKID(k)
		l.must(err)
		value, err := key.ParseContentKey(v)
		l.must(err)
		_, err = e.Ring.Import(l.t.Context(), kid, value, keyring.ImportOptions{})
		l.must(err)
	}
	rec, err := catalog.Rescan(l.t.Context(), e.Media, e.Index(), registrar{e.Ring}, e.Options(), e.Clock)
	l.must(err)
	if rec.Assets != 3 || rec.Refused != 0 {
		l.t.Fatalf("the lab holds %+v", rec)
	}
}

type registrar struct{ ring *keyring.Ring }

func (r registrar) Register(ctx context.Context, kid key.KID, k key.ContentKey, uri string) error {
	_, err := r.ring.Import(ctx, kid, k, keyring.ImportOptions{URI: uri})
	return err
}

// engine is a process of its own over the lab's stores.
func (l *lab) engine() *rotation.Engine { return l.engineOver(l.media, l.control) }

// engineOver is one whose stores have something in front of them. Its parts are
// worked as they are queued.
func (l *lab) engineOver(media, control store.Store) *rotation.Engine {
	l.t.Helper()
	local := kms.NewLocal(kms.LocalOptions{Path: filepath.Join(l.dir, "master.key")})
	kek, err := local.Primary(l.t.Context())
	l.must(err)
	trail := audit.New(control, l.clock.read, "test")
	openings := rotation.NewOpenings(journal.New(control))
	e := &rotation.Engine{
		Media: media, Control: control, Audit: trail, Actor: "test", Openings: openings, HandoverNone: true,
		Ring: keyring.New(keyring.Options{
			Store: control, KMS: local, KEK: kek, Log: trail, Clock: l.clock.read, Rotations: openings,
		}),
		Clock: l.clock.read, Log: slog.New(slog.DiscardHandler), Owner: "test/" + rand.Text(), PartObjects: 2,
	}
	e.Queue = inline{worker: &worker.Worker{
		Media: media, Journal: e.Journal(), Keys: e.Ring.AsWorker(), Name: e.Owner, Clock: e.Clock, Log: e.Log,
	}}
	return e
}

// inline does a part when it is queued. What becomes of it is in the journal, or it
// is queued again.
type inline struct{ worker *worker.Worker }

func (q inline) Enqueue(ctx context.Context, _ string, p queue.Part) error {
	_ = q.worker.Work(ctx, p, false)
	return nil
}

// start plans a run over all keys of the lab: a compromise, or a planned one.
func (l *lab) start(e *rotation.Engine, kind journal.Kind) string {
	l.t.Helper()
	kids := map[key.KID]bool{}
	for _, name := range []string{"clip", "short"} {
		s, err := e.Index().Summary(l.t.Context(), name)
		l.must(err)
		for _, k := range s.KIDs {
			kids[k] = true
		}
	}
	var all []key.KID
	for k := range kids {
		all = append(all, k)
	}
	p, err := e.Start(l.t.Context(), rotation.Request{Kind: kind, KIDs: all, Reason: "test"})
	l.must(err)
	if len(p.Plans) != 3 {
		l.t.Fatalf("%d assets are planned", len(p.Plans))
	}
	return p.Rotation
}

func (l *lab) status(id string) rotation.Status {
	l.t.Helper()
	s, err := l.engine().Status(l.t.Context(), id)
	l.must(err)
	return s
}

// plays wants every asset to verify: all that its manifests lead to is there, and
// decrypts with the keys that they name.
func (l *lab) plays(what string) {
	l.t.Helper()
	for _, name := range []string{"clip", "short", "twin"} {
		rep, err := l.engine().Verify(l.t.Context(), name)
		if err != nil || len(rep.Problems) > 0 || rep.Objects == 0 {
			l.t.Errorf("%s: verify %s: %+v, %v", what, name, rep, err)
		}
	}
}

// done wants the rotation at its end, every asset verified.
func (l *lab) done(what, id string) {
	l.t.Helper()
	s := l.status(id)
	if s.State != journal.Done || s.Parts == 0 || s.PartsDone != s.Parts {
		l.t.Errorf("%s: the rotation is %s, %d of %d parts", what, s.State, s.PartsDone, s.Parts)
	}
	for _, a := range s.Assets {
		if a.State != journal.AssetVerified {
			l.t.Errorf("%s: %s is %s: %s: %s", what, a.Asset, a.State, a.Object, a.Reason)
		}
	}
	l.plays(what)
}

// watched is a control store that says when a record of a rotation is about to be
// written; leases are not counted.
func (l *lab) watched(before func(n int, key string)) store.Store {
	var mu sync.Mutex
	n := 0
	return &storetest.Faulty{Store: l.control, Before: func(op, k string) error {
		if op != "put" || !strings.HasPrefix(k, "rotations/") || strings.HasSuffix(k, "/lease.json") {
			return nil
		}
		mu.Lock()
		n++
		now := n
		mu.Unlock()
		before(now, k)
		return nil
	}}
}

// writes is how many records a rotation of the lab takes.
func (l *lab) writes() int {
	l.t.Helper()
	total := 0
	c := l.again(l.t)
	id := c.start(c.engine(), journal.Scheduled)
	e := c.engineOver(c.media, c.watched(func(n int, _ string) { total = n }))
	_, err := e.Drive(c.t.Context(), id)
	c.must(err)
	c.done("undisturbed", id)
	if total < 12 {
		l.t.Fatalf("a rotation takes %d records only", total)
	}
	return total
}

// withoutLog is an engine that can put nothing on record.
func (l *lab) withoutLog(err error) *rotation.Engine {
	l.t.Helper()
	return l.engineOver(l.media, &storetest.Faulty{Store: l.control, Before: func(op, k string) error {
		if op == "put" && strings.HasPrefix(k, "audit/") {
			return err
		}
		return nil
	}})
}
