package endtoend

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// core is the memory of a process, by gcore (Debian package gdb).
func core(t *testing.T, p *process) []byte {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "core")
	pid := strconv.Itoa(p.cmd.Process.Pid)
	if out, err := exec.CommandContext(t.Context(), "gcore", "-o", prefix, pid).CombinedOutput(); err != nil {
		t.Fatalf("gcore: %v\n%s", err, out)
	}
	f, err := os.Open(prefix + "." + pid)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return touched(t, bufio.NewReaderSize(f, 1<<20))
}

// touched is a core without its pages of zeros: nearly all of it, since Go
// reserves more than it uses.
func touched(t *testing.T, r io.Reader) []byte {
	t.Helper()
	var out []byte
	var page, zero [4096]byte
	for {
		n, err := io.ReadFull(r, page[:])
		if !bytes.Equal(page[:n], zero[:n]) {
			out = append(out, page[:n]...)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.HasPrefix(out, []byte("\x7fELF")) {
		t.Fatal("gcore wrote no ELF file")
	}
	return out
}

// TestInvariant6NoKeyInWorkersMemory: a core of a worker, taken some seconds
// after a rotation is over, holds no written form of its keys, and of their bytes
// what Go has left in freed memory at most. One of a worker at work holds all: it
// is reported, and not judged.
func TestInvariant6NoKeyInWorkersMemory(t *testing.T) {
	t.Parallel()
	// gcore stops the worker for 6 s on a quiet machine with two processors, and
	// for 30 s on a busy one.
	ctx := boundedBy(t, 6*time.Minute)
	l := stocked(t, ctx)
	// The race detector's shadow memory would be in the core, and gdb would read
	// symbols for minutes.
	l.program = plain
	e := l.engine(t)
	id := l.begin(t, ctx, "--kid", movieVideo, "--kid", sharedAudio, "--key-uri", clipKey)
	secrets, _ := secretsOf(t, ctx, e, id)
	worker, driver := l.start(t, ctx, "-v", "worker"), l.start(t, ctx, "-v", "resume", id, "--wait")
	if code := driver.wait(t, ctx); code != 0 {
		t.Fatalf("the driver ended with exit %d\n%s", code, driver.out)
	}
	t.Logf("as the rotation ends: %d keys and forms of keys", len(leaks(secrets, "", core(t, worker))))
	var found []string
	for range 4 {
		time.Sleep(6 * time.Second) // the worker looks every 2 s what is over
		memory := core(t, worker)
		// What is searched is the worker's memory: its arguments are in it.
		if !bytes.Contains(memory, []byte(l.redis)) {
			t.Fatal("the core does not even hold the address of Redis")
		}
		if found = leaks(secrets, "a core of the worker, when all is over,", memory); len(found) == 0 {
			break
		}
	}
	// Go overwrites no memory that it has freed, and a copy that a cipher made may
	// stand in such memory: on a busy machine one or two keys of seven were found
	// raw. No other form may be, nor may most of the keys.
	raw := 0
	for _, f := range found {
		if strings.HasSuffix(f, "(raw)") {
			raw++
			t.Log(f)
		} else {
			t.Error(f)
		}
	}
	if raw > len(secrets)/2 {
		t.Errorf("%d of %d keys stand raw in the worker's memory after the rotation", raw, len(secrets))
	}
	worker.stop(t, ctx)
}
