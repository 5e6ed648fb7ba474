package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// spoolFolder makes TMPDIR a place of its own, and wants it empty in the end.
func spoolFolder(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		list, err := os.ReadDir(dir)
		if err != nil || len(list) > 0 {
			t.Errorf("left in TMPDIR: %v, %v", list, err)
		}
	})
}

func TestFileFromPipe(t *testing.T) {
	spoolFolder(t)
	b := newFileBench(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	go func() {
		_, _ = w.Write(b.content)
		_ = w.Close()
	}()
	b.app.stdin, b.o.in = r, "-"
	b.window = func(int) {
		if list, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(list) > 0 {
			t.Errorf("the copy has a name: %v, %v", list, err)
		}
	}
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantOut(t, "out.mp4")
	if s, err := os.Stat(b.o.out); err != nil || s.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", s.Mode(), err)
	}
}

// Standard input that is a file is read in place, from where it stands.
func TestFileFromRedirect(t *testing.T) {
	b := newFileBench(t)
	t.Setenv("TMPDIR", b.path("absent"))
	b.put(t, "in.mp4", "already read"+string(b.content))
	f, err := os.Open(b.o.in)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(int64(len("already read")), io.SeekStart); err != nil {
		t.Fatal(err)
	}
	b.app.stdin, b.o.in = f, "-"
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantOut(t, "out.mp4")
}

// Keys may come by a pipe while the media does not.
func TestFileKeysFromPipe(t *testing.T) {
	b := newFileBench(t)
	b.app.stdin, b.o.keys = strings.NewReader(oldPair+" "+newPair), "-"
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantOut(t, "out.mp4")
}

// An interrupt ends the command wherever it stands, and leaves nothing.
func TestFileInterrupt(t *testing.T) {
	for name, set := range map[string]func(t *testing.T, b *fileBench, stop func()){
		"before": func(_ *testing.T, _ *fileBench, stop func()) { stop() },
		"in a window": func(_ *testing.T, b *fileBench, stop func()) {
			b.window = func(at int) {
				if at == 2 {
					stop()
				}
			}
		},
		"after the last": func(_ *testing.T, b *fileBench, stop func()) {
			b.window = func(at int) {
				if at == len(b.content)/fakeWindow {
					stop()
				}
			}
		},
		"reading a pipe that says nothing": func(t *testing.T, b *fileBench, stop func()) {
			r, w := io.Pipe()
			t.Cleanup(func() { _ = w.Close() })
			b.app.stdin, b.o.in = r, "-"
			time.AfterFunc(50*time.Millisecond, stop)
		},
		"reading keys that do not come": func(t *testing.T, b *fileBench, stop func()) {
			r, w := io.Pipe()
			t.Cleanup(func() { _ = w.Close() })
			b.app.stdin, b.o.keys = r, "-"
			time.AfterFunc(50*time.Millisecond, stop)
		},
		"writing to a pipe that nobody reads": func(t *testing.T, b *fileBench, stop func()) {
			r, w := io.Pipe()
			t.Cleanup(func() { _ = r.Close() })
			b.app.stdout, b.o.out = w, "-"
			time.AfterFunc(50*time.Millisecond, stop)
		},
	} {
		t.Run(name, func(t *testing.T) {
			spoolFolder(t)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			b := newFileBench(t)
			set(t, b, stop)
			if err := b.run(ctx); !errors.Is(err, context.Canceled) {
				t.Fatalf("%v, want context.Canceled", err)
			}
			b.wantFiles(t, "in.mp4", "keys")
		})
	}
}

// The whole program: exit 130.
func TestFileInterruptExit(t *testing.T) {
	spoolFolder(t)
	b := newFileBench(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	time.AfterFunc(50*time.Millisecond, stop)
	var stderr bytes.Buffer
	if code := run(ctx, []string{"file", "-", b.o.out, "--keys", b.o.keys}, r, io.Discard, &stderr); code != exitInterrupted {
		t.Errorf("exit %d, want %d: %s", code, exitInterrupted, &stderr)
	}
	b.wantFiles(t, "in.mp4", "keys")
}

func TestProgress(t *testing.T) {
	at := time.Unix(0, 0)
	for _, tc := range []struct {
		redraw bool
		want   string
	}{
		{false, "20.0 MiB of 100.0 MiB  20%  21 MB/s\n100.0 MiB of 100.0 MiB  100%  52 MB/s\n"},
		{true, "\r\x1b[K20.0 MiB of 100.0 MiB  20%  21 MB/s\r\x1b[K100.0 MiB of 100.0 MiB  100%  52 MB/s\n"},
	} {
		var out bytes.Buffer
		now := at
		p := &progress{w: &out, total: 100 << 20, redraw: tc.redraw, now: func() time.Time { return now }, began: at, shown: at, every: time.Second}
		p.at(10 << 20) // too soon
		now = now.Add(time.Second)
		p.at(20 << 20)
		now = now.Add(time.Second)
		p.done = 100 << 20
		p.end()
		if out.String() != tc.want {
			t.Errorf("got  %q\nwant %q", out.String(), tc.want)
		}
	}
}

func TestProgressWhen(t *testing.T) {
	a := app{stderr: io.Discard}
	if a.newProgress(fileOptions{}, 1<<40) != nil {
		t.Error("shown where stderr is no terminal")
	}
	if a.newProgress(fileOptions{progress: true}, 1) == nil {
		t.Error("--progress shows nothing")
	}
	if a.newProgress(fileOptions{progress: true, quiet: true}, 1) != nil {
		t.Error("shown with --quiet")
	}
	a.flags.json = true
	p := a.newProgress(fileOptions{progress: true}, 1)
	if p != nil {
		t.Error("shown with --json")
	}
	p.at(1)
	p.end()
}
