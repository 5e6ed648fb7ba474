package endtoend

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"log/slog"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/worker"
)

// The KIDs of the fixtures (fixtures/keys.txt).
const (
	movieVideo  = "6d6f766965000000a1b2c3d4e5f60718"
	sharedAudio = "736861726564000092a4b6c8dae1f305"
	shortVideo  = "73686f727400000013579bdf02468ace"
	otherVideo  = "6f746865720000000f1e2d3c4b5a6978"
	cbcsKID     = "6362637300000000556677889900aabb"
	leadKID     = "6c656164000000001029384756fedcba"
	clipKey     = "clip/key.bin"
)

// The entry manifests of the fixtures.
var entryManifests = []string{
	"movie/stream.mpd", "movie/master.m3u8", "short/stream.mpd", "clip/master.m3u8", "other/stream.mpd",
}

// lab is one deployment: a media and a control bucket, a Redis, a local KEK.
type lab struct {
	minio          services.MinIO
	redis          string
	program        string // the command
	media, control *store.S3
	mediaURL       string
	controlURL     string
	master, dir    string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	return labOn(t, services.StartMinIO(t))
}

// labOn is a lab of its own on a MinIO that several share.
func labOn(t *testing.T, m services.MinIO) *lab {
	t.Helper()
	l := &lab{minio: m, redis: services.Redis(t), dir: t.TempDir(), program: program}
	l.master = filepath.Join(l.dir, "master.key")
	l.buckets(t)
	return l
}

func (l *lab) buckets(t *testing.T) {
	t.Helper()
	m, c := l.minio.Bucket(t), l.minio.Bucket(t)
	l.media, l.mediaURL = store.NewS3(l.minio.Client(), m, "media"), "s3://"+m+"/media"
	l.control, l.controlURL = store.NewS3(l.minio.Client(), c, "control"), "s3://"+c+"/control"
}

// bounded is the longest that one test may take.
func bounded(t *testing.T) context.Context {
	t.Helper()
	return boundedBy(t, 150*time.Second)
}

func boundedBy(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// stocked is a lab with the fixtures' library, its keys imported and indexed.
func stocked(t *testing.T, ctx context.Context) *lab {
	t.Helper()
	return newLab(t).stock(t, ctx)
}

func (l *lab) stock(t *testing.T, ctx context.Context) *lab {
	t.Helper()
	l.upload(t, ctx, fixtures.Library(), ".", "")
	l.index(t, ctx)
	return l
}

// index imports the fixtures' keys and scans.
func (l *lab) index(t *testing.T, ctx context.Context) {
	t.Helper()
	l.succeed(t, ctx, l.rekey(t, ctx, fixtures.Keys(), "keys", "import", "-"))
	l.scan(t, ctx)
}

func (l *lab) scan(t *testing.T, ctx context.Context) {
	t.Helper()
	l.succeed(t, ctx, l.rekey(t, ctx, nil, "scan"))
}

// upload puts the folder from of a tree under the key prefix to.
func (l *lab) upload(t *testing.T, ctx context.Context, tree fs.FS, from, to string) {
	t.Helper()
	n := 0
	err := fs.WalkDir(tree, from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		rel := name
		if from != "." {
			rel = strings.TrimPrefix(name, from+"/")
		}
		n++
		l.put(t, ctx, path.Join(to, rel), b)
		return nil
	})
	if err != nil || n == 0 {
		t.Fatalf("upload %s: %d objects, error %v", from, n, err)
	}
}

func (l *lab) put(t *testing.T, ctx context.Context, k string, b []byte) {
	t.Helper()
	if _, err := l.media.Put(ctx, k, b, store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) get(t *testing.T, ctx context.Context, k string) []byte {
	t.Helper()
	return read(t, ctx, l.media, k)
}

func read(t *testing.T, ctx context.Context, s store.Reader, k string) []byte {
	t.Helper()
	b, _, err := store.ReadAll(ctx, s, k, "", 64<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// change rewrites one media object.
func (l *lab) change(t *testing.T, ctx context.Context, k string, edit func([]byte) []byte) {
	t.Helper()
	was := l.get(t, ctx, k)
	now := edit(bytes.Clone(was))
	if bytes.Equal(was, now) {
		t.Fatalf("the test left %s as it was", k)
	}
	l.put(t, ctx, k, now)
}

func replace(t *testing.T, old, now string) func([]byte) []byte {
	return func(b []byte) []byte {
		t.Helper()
		if !bytes.Contains(b, []byte(old)) {
			t.Fatalf("%q is not in the object", old)
		}
		return bytes.ReplaceAll(b, []byte(old), []byte(now))
	}
}

// tree is the SHA-256 of every object under a prefix, by key.
func tree(t *testing.T, ctx context.Context, s store.Reader, prefix string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for info, err := range s.List(ctx, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(read(t, ctx, s, info.Key))
		sums[info.Key] = hex.EncodeToString(sum[:])
	}
	return sums
}

// sameTree fails where an object differs, is gone or is new.
func sameTree(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if len(want) == 0 {
		t.Errorf("%s: nothing to compare with", what)
	}
	for k, sum := range want {
		if got[k] != sum {
			t.Errorf("%s: %s differs", what, k)
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: %s is new", what, k)
		}
	}
}

// clone copies both buckets as they are: the same plan can be run again.
func (l *lab) clone(t *testing.T, ctx context.Context) *lab {
	t.Helper()
	c := &lab{minio: l.minio, redis: services.Redis(t), master: l.master, dir: l.dir, program: l.program}
	c.buckets(t)
	for _, pair := range [][2]*store.S3{{l.media, c.media}, {l.control, c.control}} {
		for info, err := range pair[0].List(ctx, "") {
			if err != nil {
				t.Fatal(err)
			}
			if _, err := pair[1].Put(ctx, info.Key, read(t, ctx, pair[0], info.Key), store.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// engine is what the command makes of its flags, in this process.
func (l *lab) engine(t *testing.T) *rotation.Engine {
	t.Helper()
	local := kms.NewLocal(kms.LocalOptions{Path: l.master})
	kek, err := local.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	trail := audit.New(l.control, time.Now, "test")
	openings := rotation.NewOpenings(journal.New(l.control))
	return &rotation.Engine{
		Media: l.media, Control: l.control, Audit: trail, Actor: "test", Openings: openings,
		Ring: keyring.New(keyring.Options{
			Store: l.control, KMS: local, KEK: kek, Log: trail, Clock: time.Now, Rotations: openings,
		}),
		Clock: time.Now, Log: slog.New(slog.DiscardHandler), Owner: "test/" + rand.Text(), HandoverNone: true,
	}
}

func workerOf(e *rotation.Engine) *worker.Worker {
	return &worker.Worker{Media: e.Media, Journal: e.Journal(), Keys: keyring.NewCache(e.Ring, keyring.CacheOptions{}), Name: e.Owner, Clock: e.Clock, Log: e.Log}
}

// work gives the engine a queue over the lab's Redis and a worker in this
// process, until the test ends.
func (l *lab) work(t *testing.T, ctx context.Context, e *rotation.Engine) {
	t.Helper()
	conn, err := queue.Open(l.redis)
	if err != nil {
		t.Fatal(err)
	}
	c := queue.NewClient(conn)
	e.Queue = c
	serve, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- queue.Serve(serve, conn, workerOf(e), nil, queue.ServerOptions{Log: e.Log}) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("serve the queue: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("close the queue: %v", err)
		}
	})
}

// plan starts a compromise of keys, in this process.
func plan(t *testing.T, ctx context.Context, e *rotation.Engine, kids ...key.KID) rotation.Planned {
	t.Helper()
	p, err := e.Start(ctx, rotation.Request{Kind: journal.Compromise, KIDs: kids, Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func drive(t *testing.T, ctx context.Context, e *rotation.Engine, id string, want journal.Phase) rotation.Status {
	t.Helper()
	if _, err := e.Drive(ctx, id); err != nil {
		t.Fatal(err)
	}
	s, err := e.Status(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if s.State != want {
		t.Errorf("rotation ended %s, want %s: %+v", s.State, want, s)
	}
	return s
}

func kid(t *testing.T, s string) key.KID {
	t.Helper()
	if strings.Contains(s, "/") {
		return key.KIDFromURI(s)
	}
	k, err := key.ParseKID(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// asset is one asset's line of a status.
func asset(t *testing.T, s rotation.Status, name string) rotation.AssetStatus {
	t.Helper()
	for _, a := range s.Assets {
		if a.Asset == name {
			return a
		}
	}
	t.Fatalf("rotation %s has no asset %s", s.Rotation, name)
	return rotation.AssetStatus{}
}
