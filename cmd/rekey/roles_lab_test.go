package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/fixtures"
)

// roleLab is an installation, and what its commands come to.
type roleLab struct {
	t      *testing.T
	dir    string
	redis  string
	server string
	tokens map[string]string // files, by role
	ids    map[string]string // identities
	seen   map[string]bool   // audit records
	made   int
	kept   keptBackup // made before roles were in force
}

func newRoleLab(t *testing.T) *roleLab {
	t.Helper()
	for _, name := range []string{"SERVER", "TOKEN_FILE", "CONFIG", "MEDIA", "CONTROL", "REDIS", "MASTER_KEY_FILE", "HANDOVER", "AUDIT_KEY"} {
		t.Setenv("REKEY_"+name, "")
	}
	l := &roleLab{t: t, dir: t.TempDir(), redis: miniredis.RunT(t).Addr(), tokens: map[string]string{}, ids: map[string]string{}, seen: map[string]bool{}}
	l.must(os.CopyFS(l.at("media"), fixtures.Library()))
	l.write("keys.txt", fixtures.Keys())
	l.ok("keys", "import", l.at("keys.txt"))
	l.ok("scan")
	l.kept = l.backedUp()
	return l
}

func (l *roleLab) at(name string) string { return filepath.Join(l.dir, name) }

// fresh is a name that nothing has yet.
func (l *roleLab) fresh(name string) string {
	l.made++
	return name + "-" + strconv.Itoa(l.made)
}

func (l *roleLab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *roleLab) write(name string, b []byte) string {
	l.t.Helper()
	l.must(os.WriteFile(l.at(name), b, 0o600))
	return l.at(name)
}

// ran is what a run of the program came to.
type ran struct {
	code     int
	out, err string
}

// rekey runs the program on the installation.
func (l *roleLab) rekey(ctx context.Context, stdin string, args ...string) ran {
	l.t.Helper()
	var out, errs bytes.Buffer
	code := run(ctx, l.placed(args), strings.NewReader(stdin), &out, &errs)
	return ran{code, out.String(), errs.String()}
}

func (l *roleLab) placed(args []string) []string {
	return append([]string{"--media", l.at("media"), "--control", l.at("control"), "--master-key", l.at("master.key"), "--handover", "none"}, args...)
}

// ok runs what must work, and is its output.
func (l *roleLab) ok(args ...string) string {
	l.t.Helper()
	got := l.rekey(l.t.Context(), "", args...)
	if got.code != exitDone {
		l.t.Fatalf("rekey %q: exit %d: %s", args, got.code, got.err)
	}
	return strings.TrimSpace(got.out)
}

// by runs a command through the server in a role.
func (l *roleLab) by(role, stdin string, args ...string) ran {
	l.t.Helper()
	return l.rekey(l.t.Context(), stdin, append([]string{"--server", l.server, "--token-file", l.tokens[role]}, args...)...)
}

// news are the audit records since it was called last. It reads new objects only: a
// log that is read whole each time takes longer than all the rest.
func (l *roleLab) news() (out []audit.Record) {
	l.t.Helper()
	for _, dir := range []string{"heads", "records"} {
		l.must(filepath.WalkDir(l.at("control/audit/"+dir), func(name string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() || l.seen[name] || filepath.Ext(name) != ".json" {
				return err
			}
			l.seen[name] = true
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			var e struct{ Record *audit.Record }
			if err := json.Unmarshal(b, &e); err != nil {
				return err
			}
			if e.Record != nil {
				out = append(out, *e.Record)
			}
			return nil
		}))
	}
	if len(l.seen) == 0 {
		l.t.Fatal("there is no audit log")
	}
	return out
}

// join grants a role to a person of that name.
func (l *roleLab) join(role string) {
	l.t.Helper()
	var got struct {
		Identity access.Identity `json:"identity"`
		Token    string          `json:"token"`
	}
	l.must(json.Unmarshal([]byte(l.ok("identity", "grant", "p-"+role, "--role", role, "--signing-key", l.at("signing.key"), "--json")), &got))
	l.tokens[role], l.ids[role] = l.write(role+".token", []byte(got.Token+"\n")), got.Identity.ID
}

// serve runs rekey serve until the function it returns is called.
func (l *roleLab) serve() (stop func()) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	l.write("pages.token", []byte("the pages' own token"))
	go func() {
		args := l.placed([]string{"serve", "--listen", "127.0.0.1:0", "--signing-key", l.at("signing.key"), "--token-file", l.at("pages.token")})
		code := run(ctx, args, strings.NewReader(""), io.Discard, w)
		_ = w.Close()
		ended <- code
	}()
	said := &lines{r: r}
	address, found := said.until("queue page: ")
	if !found {
		l.t.Fatalf("serve says no address: %s", said.text.String())
	}
	l.server = strings.TrimSuffix(address, "/queue")
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return sync.OnceFunc(func() {
		cancel()
		if code := <-ended; code != exitDone && code != exitInterrupted {
			l.t.Errorf("serve ends with %d", code)
		}
	})
}

// lines reads what a program says, line by line.
type lines struct {
	r    io.Reader
	text bytes.Buffer
}

// until is the rest of the first line that begins so.
func (s *lines) until(prefix string) (string, bool) {
	one := make([]byte, 1)
	for {
		n, err := s.r.Read(one)
		s.text.Write(one[:n])
		if n > 0 && one[0] == '\n' {
			all := strings.TrimSuffix(s.text.String(), "\n")
			if rest, ok := strings.CutPrefix(all[strings.LastIndexByte(all, '\n')+1:], prefix); ok {
				return rest, true
			}
		}
		if err != nil {
			return "", false
		}
	}
}
