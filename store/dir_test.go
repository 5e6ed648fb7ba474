package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

// dirAt opens a store and lays out files, given as name and content, below it.
func dirAt(t *testing.T, files map[string]string) (*store.Dir, string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := store.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, root
}

func listed(t *testing.T, s store.Reader, prefix string) []string {
	t.Helper()
	var keys []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func TestDirLinksNeverLeadOut(t *testing.T) {
	d, root := dirAt(t, map[string]string{"in/real": "inside", "../out/secret": "outside"})
	for link, target := range map[string]string{
		"relative": "../out/secret", "absolute": filepath.Join(filepath.Dir(root), "out/secret"),
		"folder": "../out", "in/up": "../../out/secret", "dangling": "nowhere", "loop": "loop",
		"good": "in/real", "in/same": "real", "infolder": "in",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"relative", "absolute", "folder/secret", "in/up", "dangling", "loop"} {
		if b, _, err := store.ReadAll(t.Context(), d, key, "", 100, nil); err == nil {
			t.Errorf("read %q through %s", b, key)
		} else if !errors.Is(err, store.ErrInvalidKey) && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, key := range []string{"folder/new", "folder/secret"} {
		for _, o := range []store.PutOptions{{}, {CreateOnly: true}} {
			if _, err := d.Put(t.Context(), key, []byte("x"), o); !errors.Is(err, store.ErrInvalidKey) {
				t.Errorf("put %s: %v", key, err)
			}
		}
		if err := d.Delete(t.Context(), key); !errors.Is(err, store.ErrInvalidKey) {
			t.Errorf("delete %s: %v", key, err)
		}
	}
	// A write replaces the link, not what it leads to.
	if _, err := d.Put(t.Context(), "relative", []byte("x"), store.PutOptions{CreateOnly: true}); !errors.Is(err, store.ErrPrecondition) {
		t.Errorf("create over a link: %v", err)
	}
	if out, err := os.ReadFile(filepath.Join(root, "../out/secret")); err != nil || string(out) != "outside" {
		t.Errorf("outside is %q, %v", out, err)
	}
	if entries, err := os.ReadDir(filepath.Join(root, "../out")); err != nil || len(entries) != 1 {
		t.Errorf("outside are %v, %v", entries, err)
	}
	for _, key := range []string{"good", "in/same", "infolder/real"} {
		if b, _, err := store.ReadAll(t.Context(), d, key, "", 100, nil); err != nil || string(b) != "inside" {
			t.Errorf("%s: %q, %v", key, b, err)
		}
	}
	if got, want := listed(t, d, ""), []string{"good", "in/real", "in/same"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

func TestDirPassesOverWhatIsNoObject(t *testing.T) {
	d, root := dirAt(t, map[string]string{"a/x": "x", "a/.rekey-tmp-left": "half", ".rekey-tmp-d/y": "y"})
	if err := syscall.Mkfifo(filepath.Join(root, "a/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, d, ""); !slices.Equal(got, []string{"a/x"}) {
		t.Errorf("listed %q", got)
	}
	if got := listed(t, d, "a/.rekey"); len(got) != 0 {
		t.Errorf("listed %q", got)
	}
	if _, _, err := d.Get(t.Context(), "a/pipe", store.GetOptions{}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get a pipe: %v", err)
	}
}

func TestDirFolderInTheWay(t *testing.T) {
	d, root := dirAt(t, map[string]string{"a/b/x": "x"})
	if err := os.Mkdir(filepath.Join(root, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "a/b", "empty"} {
		for _, o := range []store.PutOptions{{}, {CreateOnly: true}} {
			if _, err := d.Put(t.Context(), key, nil, o); !errors.Is(err, store.ErrInvalidKey) {
				t.Errorf("put over folder %s: %v", key, err)
			}
		}
		if err := d.Delete(t.Context(), key); err != nil {
			t.Errorf("delete folder %s: %v", key, err)
		}
		if _, err := os.Stat(filepath.Join(root, key)); err != nil {
			t.Errorf("folder %s is gone: %v", key, err)
		}
	}
	if got := files(t, root); !slices.Equal(got, []string{"a/b/x"}) {
		t.Errorf("files are %q", got)
	}
}

// files names every file below root, hidden ones too.
func files(t *testing.T, root string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(root, p)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestDirLeavesNothingBehind(t *testing.T) {
	d, root := dirAt(t, nil)
	first, err := d.Put(t.Context(), "f/k", []byte("1"), store.PutOptions{CreateOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []store.PutOptions{{CreateOnly: true}, {}, {IfMatch: first.ETag}} {
		_, _ = d.Put(t.Context(), "f/k", []byte("2"), o)
	}
	if _, err := d.Put(t.Context(), "g/h/k", nil, store.PutOptions{IfMatch: first.ETag}); !errors.Is(err, store.ErrPrecondition) {
		t.Error(err)
	}
	if got := files(t, root); !slices.Equal(got, []string{"f/k"}) {
		t.Errorf("files are %q", got)
	}
	if _, err := os.Stat(filepath.Join(root, "g")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused write made a folder: %v", err)
	}
}

func TestDirETag(t *testing.T) {
	d, root := dirAt(t, map[string]string{"k": "1234"})
	path := filepath.Join(root, "k")
	etag := func(r store.Reader) string {
		info, err := r.Stat(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		return info.ETag
	}
	first := etag(d)
	other, err := store.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if got := etag(other); got != first {
		t.Errorf("another Dir says %s, this one %s", got, first)
	}
	// Written in place by somebody else.
	if err := os.WriteFile(path, []byte("5678"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	second := etag(d)
	if second == first {
		t.Error("a file written in place kept its ETag")
	}
	// Its clock is ahead, yet what replaces it must be later.
	info, err := d.Put(t.Context(), "k", []byte("9999"), store.PutOptions{IfMatch: second})
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.Stat(path)
	if err != nil || !info.Modified.After(time.Now().Add(time.Minute*59)) || !old.ModTime().Equal(info.Modified) || etag(d) != info.ETag {
		t.Errorf("replaced: %+v, file %v, error %v", info, old.ModTime(), err)
	}
}

func TestDirKeepsPermissions(t *testing.T) {
	d, root := dirAt(t, map[string]string{"k": "1"})
	path := filepath.Join(root, "k")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), "k", []byte("2"), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestDirContentType(t *testing.T) {
	d, _ := dirAt(t, map[string]string{
		"a.m3u8": "application/vnd.apple.mpegurl", "a.mpd": "application/dash+xml", "a.ts": "video/mp2t",
		"a.m4s": "video/iso.segment", "a.mp4": "video/mp4", "a.vtt": "text/vtt", "a.json": "application/json",
		"a.bin": "application/octet-stream", "a": "application/octet-stream",
	})
	for _, key := range listed(t, d, "") {
		want, info, err := store.ReadAll(t.Context(), d, key, "", 100, nil)
		if err != nil || info.Attributes.ContentType != string(want) {
			t.Errorf("%s is %q, want %q, error %v", key, info.Attributes.ContentType, want, err)
		}
	}
}

func TestDirFileCutShortWhileRead(t *testing.T) {
	d, root := dirAt(t, map[string]string{"k": strings.Repeat("x", 1<<20)})
	_, body, err := d.Get(t.Context(), "k", store.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if err := os.Truncate(filepath.Join(root, "k"), 10); err != nil {
		t.Fatal(err)
	}
	_, err = bufio.NewReader(body).ReadString('y')
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

// lockFolder holds the lock that another process would.
func lockFolder(t *testing.T, folder string) *os.File {
	t.Helper()
	f, err := os.Open(folder)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDirWaitsForTheLock(t *testing.T) {
	d, root := dirAt(t, map[string]string{"f/k": "1"})
	held := lockFolder(t, filepath.Join(root, "f"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Put(ctx, "f/k", []byte("2"), store.PutOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("put while it is locked: %v", err)
	}
	if err := d.Delete(ctx, "f/k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("delete while it is locked: %v", err)
	}
	if _, err := d.Put(t.Context(), "f/new", nil, store.PutOptions{CreateOnly: true}); err != nil {
		t.Errorf("create needs no lock: %v", err)
	}
	done := make(chan error)
	go func() {
		_, err := d.Put(t.Context(), "f/k", []byte("3"), store.PutOptions{})
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("put while it is locked: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestDirAgainstOtherProcesses counts in one object from several processes, by
// If-Match: no count may be lost. The children are this test again.
func TestDirAgainstOtherProcesses(t *testing.T) {
	const note, processes, counts = "REKEY_TEST_COUNT_IN", 3, 15
	if root := os.Getenv(note); root != "" {
		d, err := store.OpenDir(root)
		if err != nil {
			t.Fatal(err)
		}
		for range counts {
			count(t, d)
		}
		return
	}
	d, root := dirAt(t, map[string]string{"f/n": "0"})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range processes {
		wg.Go(func() {
			child := exec.Command(self, "-test.run=^TestDirAgainstOtherProcesses$")
			child.Env = append(os.Environ(), note+"="+root)
			if out, err := child.CombinedOutput(); err != nil {
				t.Errorf("child: %v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	b, _, err := store.ReadAll(t.Context(), d, "f/n", "", 100, nil)
	if err != nil || string(b) != fmt.Sprint(processes*counts) {
		t.Errorf("counted %s, want %d, error %v", b, processes*counts, err)
	}
}

func count(t *testing.T, s store.Store) {
	t.Helper()
	for {
		b, info, err := store.ReadAll(t.Context(), s, "f/n", "", 100, nil)
		var n int
		if err == nil {
			_, err = fmt.Sscan(string(b), &n)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Put(t.Context(), "f/n", fmt.Append(nil, n+1), store.PutOptions{IfMatch: info.ETag})
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrPrecondition) {
			t.Fatal(err)
		}
	}
}
