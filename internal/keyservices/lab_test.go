package keyservices

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// The KIDs of the two assets in the lab's library (fixtures/keys.txt). Their
// keys do not depend on each other.
const (
	shortVideo = "73686f727400000013579bdf02468ace"
	otherVideo = "6f746865720000000f1e2d3c4b5a6978"
	otherAudio = "6f74686572000000f0e1d2c3b4a59687"
)

var library = []string{"short", "other"}

// service is a key service and what a deployment says of it.
type service struct {
	scheme string
	config []string // the lines of kms: in rekey.yaml
	env    []string // of the program
	// passphrase is what the program's questions on the terminal are answered
	// with; "": there is no terminal.
	passphrase string
	// secrets are what opens the service, or what it holds.
	secrets map[string]string
	// client is one that does not go through the program, nor through gate.
	client kms.Provider
	// gate is where calls pass, and files are what the service is in: it is away
	// while the one is shut or the others are gone.
	gate  *gate
	files []string
	// blind: a process that has seen the files gone does not see them come back.
	blind bool
	// s3: the lab's stores are in MinIO and its queue is in Redis, as in a
	// deployment. Otherwise they are in directories and in the process.
	s3 bool
}

// lab is one deployment over one service.
type lab struct {
	service
	program          string
	dir, master      string
	media, control   store.Store
	mediaURL, ctlURL string
	redis            string // "": in the process
	mu               sync.Mutex
	said             []string // everything that was printed, and the config
}

// bounded is the longest that one test may take.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func newLab(t *testing.T, dir string, s service) *lab {
	t.Helper()
	l := &lab{service: s, program: program, dir: dir, master: filepath.Join(dir, "master.key")}
	if s.s3 {
		m := services.StartMinIO(t)
		media, control := m.Bucket(t), m.Bucket(t)
		l.media, l.mediaURL = store.NewS3(m.Client(), media, "media"), "s3://"+media+"/media"
		l.control, l.ctlURL = store.NewS3(m.Client(), control, "control"), "s3://"+control+"/control"
		l.env = append(slices.Clone(l.env), m.Environ()...)
		l.redis = services.Redis(t)
	} else {
		l.media, l.mediaURL = folder(t, filepath.Join(dir, "media"))
		l.control, l.ctlURL = folder(t, filepath.Join(dir, "control"))
	}
	l.configure(t, "")
	return l
}

func folder(t *testing.T, name string) (store.Store, string) {
	t.Helper()
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := store.OpenDir(name)
	if err != nil {
		t.Fatal(err)
	}
	return d, name
}

// configure writes rekey.yaml; kek is the one that a new control store begins
// with, or "".
func (l *lab) configure(t *testing.T, kek string) {
	t.Helper()
	lines := []string{
		"media: " + l.mediaURL, "control: " + l.ctlURL, "handover: none", "master_key: " + l.master, "kms:",
	}
	if kek != "" {
		lines = append(lines, "  kek: "+kek)
	}
	for _, line := range l.config {
		lines = append(lines, "  "+line)
	}
	text := strings.Join(lines, "\n") + "\n"
	l.hear(text)
	if err := os.WriteFile(filepath.Join(l.dir, "rekey.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// stock uploads the library.
func (l *lab) stock(t *testing.T, ctx context.Context) {
	t.Helper()
	n := 0
	for _, asset := range library {
		err := fs.WalkDir(fixtures.Library(), asset, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := fs.ReadFile(fixtures.Library(), name)
			if err != nil {
				return err
			}
			n++
			_, err = l.media.Put(ctx, name, b, store.PutOptions{})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 10 {
		t.Fatalf("%d objects uploaded: that is no library", n)
	}
}

// objects are all objects below a prefix, with their bytes.
func objects(t *testing.T, ctx context.Context, s store.Store, prefix string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for info, err := range s.List(ctx, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := store.ReadAll(ctx, s, info.Key, "", 64<<20, nil)
		if err != nil {
			t.Fatal(err)
		}
		all[info.Key] = string(b)
	}
	if len(all) == 0 {
		t.Fatalf("no objects below %q", prefix)
	}
	return all
}

// hear keeps what was printed.
func (l *lab) hear(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, text)
}

// heard is everything that was printed until now.
func (l *lab) heard() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.said)
}
