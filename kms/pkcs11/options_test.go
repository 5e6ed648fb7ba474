package pkcs11

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/kms"
)

func TestOptions(t *testing.T) {
	good := Options{Module: "/lib/token.so", Token: "rekey", PINFile: "pin"}
	o, err := good.withDefaults()
	if err != nil || o.Sessions != 8 || o.DestroyAfter != 7*24*time.Hour || o.Polls != 50 || o.Poll != 200*time.Millisecond || o.Clock == nil || o.Wait == nil {
		t.Errorf("zero values became %+v, %v", o, err)
	}
	for name, set := range map[string]func(*Options){
		"no module":         func(o *Options) { o.Module = "" },
		"relative module":   func(o *Options) { o.Module = "token.so" },
		"no token":          func(o *Options) { o.Token = "" },
		"long token":        func(o *Options) { o.Token = strings.Repeat("a", 33) },
		"no PIN":            func(o *Options) { o.PINFile = "" },
		"negative sessions": func(o *Options) { o.Sessions = -1 },
		"many sessions":     func(o *Options) { o.Sessions = 1025 },
		"negative time":     func(o *Options) { o.DestroyAfter = -1 },
		"negative poll":     func(o *Options) { o.Poll = -1 },
		"negative polls":    func(o *Options) { o.Polls = -1 },
	} {
		bad := good
		set(&bad)
		if _, err := bad.withDefaults(); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v, want ErrOptions", name, err)
		}
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	if err := wait(t.Context(), 0); err != nil {
		t.Errorf("wait of nothing: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := wait(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("wait, cancelled: %v", err)
	}
}

func TestReadPIN(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		return path
	}
	long := strings.Repeat("7", maxPIN)
	for text, want := range map[string]string{
		"1234": "1234", "1234\n": "1234", "1234\r\n": "1234", " 12 34 \n": " 12 34 ", long + "\r\n": long,
	} {
		if got, err := readPIN(write("good", text, 0o600)); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"none":         filepath.Join(dir, "none"),
		"a directory":  dir,
		"a pipe":       fifo,
		"group reads":  write("group", "s3cret\n", 0o640),
		"others read":  write("others", "s3cret\n", 0o604),
		"empty":        write("empty", "", 0o600),
		"empty line":   write("line", "\n", 0o600),
		"two lines":    write("lines", "s3cret\ns3cret\n", 0o600),
		"holds a zero": write("zero", "s3cret\x00", 0o600),
		"too long":     write("long", long+"7", 0o600),
		"far too long": write("longer", long+long, 0o600),
	} {
		pin, err := readPIN(path)
		if !errors.Is(err, kms.ErrDenied) || pin != nil {
			t.Errorf("%s: %q, %v; want ErrDenied", name, pin, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error shows the PIN: %v", name, err)
		}
	}
}
