package restoredrill

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/keyring/backup"
)

// serve grants roles and starts the server, which is stopped when the test ends.
func (m *machine) serve(t *testing.T, ctx context.Context) {
	t.Helper()
	for _, grant := range []string{"olga --role operator", "anna --role approver"} {
		name, _, _ := strings.Cut(grant, " ")
		line := "rekey identity grant " + grant + " --signing-key signing.key --out " + name + ".token"
		if a := m.shell(t, ctx, "", line); a.code != 0 {
			t.Fatalf("%s: exit %d\n%s", line, a.code, a.stderr)
		}
	}
	// The test's context ends before its cleanup, which stops the server.
	c := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(bin, "rekey"), "serve", "--signing-key", "signing.key", "--listen", "127.0.0.1:0")
	c.Dir, c.Env = m.dir, m.env
	stderr, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	at, ended := make(chan string, 1), make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
			if url, ok := strings.CutPrefix(lines.Text(), "queue page: "); ok {
				at <- strings.TrimSuffix(url, "/queue")
			}
		}
		_ = c.Wait() // the exit code is in ProcessState
		ended <- all.String()
	}()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		if text := <-ended; c.ProcessState.ExitCode() != 0 {
			t.Errorf("serve: exit %d\n%s", c.ProcessState.ExitCode(), text)
		}
	})
	select {
	case url := <-at:
		m.env = append(m.env, "REKEY_SERVER="+url)
	case text := <-ended:
		ended <- text
		t.Fatalf("serve ended: %s", text)
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
}

// alone is the machine for commands that do not go through the server.
func (m *machine) alone() *machine {
	c := *m
	c.env = append(c.env[:len(c.env):len(c.env)], "REKEY_SERVER=")
	return &c
}

const bookRequest = "20261125T035051Z-a7e160401c60e474"

// desk is a server on a new machine, and a backup that was made elsewhere.
type desk struct {
	*machine
	book book
	otp  *authenticator
}

func newDesk(t *testing.T, ctx context.Context, old *machine, b book, otp *authenticator) *desk {
	t.Helper()
	m := newMachine(t, old.media)
	m.bring(t, old, left()...)
	m.serve(t, ctx)
	d := &desk{m, b, otp}
	for _, line := range b.server[1:4] { // the key, and the holders' shares
		if a := d.shell(t, ctx, "", line); a.code != 0 {
			t.Fatalf("$ %s: exit %d\n%s", line, a.code, a.stderr)
		}
	}
	return d
}

// approved is a request to restore that another person agreed to.
func (d *desk) approved(t *testing.T, ctx context.Context) string {
	t.Helper()
	a := d.shell(t, ctx, "", d.book.server[4])
	request := strings.TrimSpace(a.stdout)
	if a.code != 5 || request == "" {
		t.Fatalf("$ %s: exit %d, want 5\n%s", d.book.server[4], a.code, a.stderr)
	}
	line := strings.ReplaceAll(d.book.server[5], bookRequest, request)
	if a := d.shell(t, ctx, "", line); a.code != 0 {
		t.Fatalf("$ %s: exit %d\n%s", line, a.code, a.stderr)
	}
	return request
}

// restore carries a request out.
func (d *desk) restore(t *testing.T, ctx context.Context, request, code string) answer {
	t.Helper()
	return d.shell(t, ctx, code+"\n", strings.ReplaceAll(d.book.server[6], bookRequest, request))
}

// wantRefused: by the server, with the words of the class, and nothing restored.
func (d *desk) wantRefused(t *testing.T, what string, a answer, words string) {
	t.Helper()
	if a.code != 1 || !strings.Contains(a.stderr, words) {
		t.Errorf("%s: exit %d, want 1 and %q\n%s%s", what, a.code, words, a.stdout, a.stderr)
	}
	for name := range d.store(t) {
		if strings.HasPrefix(name, "keys/") || strings.HasPrefix(name, "secrets/") {
			t.Fatalf("%s: %s stands", what, name)
		}
	}
}

// standing is how far a request has come.
func (d *desk) standing(t *testing.T, ctx context.Context, request string) string {
	t.Helper()
	all := decode[[]struct{ Standing string }](t, d.must(t, ctx, "requests", request, "--json", "--token-file", "anna.token"))
	return all[0].Standing
}

// records counts the audit records of a request, by action and outcome.
func (d *desk) records(t *testing.T, ctx context.Context, request string) map[string]int {
	t.Helper()
	n := map[string]int{}
	for line := range strings.Lines(d.must(t, ctx, "audit", "tail", "-n", "1000", "--json")) {
		e := decode[struct{ Request, Action, Outcome string }](t, line)
		if e.Request == request {
			n[e.Action+" "+e.Outcome]++
		}
	}
	return n
}

// fingerprint is a backup's, without opening it.
func fingerprint(t *testing.T, file []byte) string {
	t.Helper()
	h, err := backup.ReadHeader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return h.Fingerprint()
}

// TestServerDrill: a new machine where roles are in force. A wrong code, a share
// too few and a damaged file leave the approval good; the right ones use it up.
func TestServerDrill(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	b := readBook(t)
	old := stocked(t, ctx)
	otp := b.backedUp(t, ctx, old)
	states := old.states(t, ctx)
	d := newDesk(t, ctx, old, b, otp)
	old.wipe(t)

	a := d.alone().try(t, ctx, otp.wrong(t), "keys", "restore", "keys.backup", "--holder-key", "anna.key", "--holder-key", "ben.key", "--reason", "x", "--json")
	wantRefusal(t, "without the server", a, 5, "approval")

	request := d.approved(t, ctx)
	d.wantRefused(t, "a wrong code", d.restore(t, ctx, request, otp.wrong(t)), "second factor refused")
	d.wantRefused(t, "an old code", d.restore(t, ctx, request, otp.expired(t)), "second factor refused")
	one := strings.ReplaceAll(b.server[6], " --share cleo.share", "")
	d.wantRefused(t, "one share", d.shell(t, ctx, otp.wrong(t), strings.ReplaceAll(one, bookRequest, request)), "too few shares")
	if s := d.standing(t, ctx, request); s != "granted" {
		t.Fatalf("after refusals the approval is %s", s)
	}
	a = d.shell(t, ctx, otp.wrong(t), strings.ReplaceAll(strings.ReplaceAll(b.server[6], bookRequest, request), "olga.token", "anna.token"))
	d.wantRefused(t, "another person", a, "role does not allow")

	if a := d.restore(t, ctx, request, otp.code(t, ctx)); a.code != 0 {
		t.Fatalf("the right code: exit %d\n%s", a.code, a.stderr)
	}
	if s := d.standing(t, ctx, request); s != "used" {
		t.Errorf("after the restore the approval is %s", s)
	}
	a = d.restore(t, ctx, request, otp.code(t, ctx))
	if a.code != 1 || !strings.Contains(a.stderr, "used already") {
		t.Errorf("again: exit %d\n%s", a.code, a.stderr)
	}
	n := d.records(t, ctx, request)
	if n["key.restore requested"] != 3 || n["key.restore refused"] != 3 || n["key.restore allowed"] != 1 {
		t.Errorf("on record is %v", n)
	}
	d.alone().wantStates(t, ctx, states)
	d.alone().wantLibrary(t, ctx)
}

// TestServerBoundsCodes: an approval is good for so many codes, one after the
// other or all at once; another approval is for as many again. A code that was
// taken is taken.
func TestServerBoundsCodes(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	b := readBook(t)
	old := newMachine(t, library(t))
	old.mustWith(t, ctx, movieVideo+":00112233445566778899aabbccddeeff\n", "keys", "import", "-")
	otp := b.backedUp(t, ctx, old)
	d := newDesk(t, ctx, old, b, otp)

	request := d.approved(t, ctx)
	d.guess(t, ctx, request, otp.wrong(t), 4*backup.MaxAttempts)
	if n := d.records(t, ctx, request); n["key.restore requested"] != backup.MaxAttempts || n["key.restore refused"] != 4*backup.MaxAttempts {
		t.Errorf("on record is %v, want %d codes that were tried", n, backup.MaxAttempts)
	}
	code := otp.code(t, ctx)
	d.wantRefused(t, "the right code after too many", d.restore(t, ctx, request, code), "too many wrong codes")
	if s := d.standing(t, ctx, request); s != "granted" {
		t.Errorf("after that the approval is %s", s)
	}

	request = d.approved(t, ctx)
	if a := d.restore(t, ctx, request, code); a.code != 0 {
		t.Fatalf("the right code under another approval: exit %d\n%s", a.code, a.stderr)
	}
	request = d.approved(t, ctx)
	a := d.restore(t, ctx, request, code)
	if a.code != 1 || !strings.Contains(a.stderr, "code was used before") || d.standing(t, ctx, request) != "granted" {
		t.Errorf("the code again: exit %d, %s\n%s", a.code, d.standing(t, ctx, request), a.stderr)
	}
}

// guess tries a code many times at once, as a program of somebody's own would.
func (d *desk) guess(t *testing.T, ctx context.Context, request, code string, times int) {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"backup": d.read(t, "keys.backup"), "code": code,
		"shares": []string{string(d.read(t, "anna.share")), string(d.read(t, "cleo.share"))},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := strings.TrimPrefix(d.env[len(d.env)-1], "REKEY_SERVER=")
	token := strings.TrimSpace(string(d.read(t, "olga.token")))
	client := &http.Client{Timeout: time.Minute}
	var guesses sync.WaitGroup
	for range times {
		guesses.Go(func() {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, server+"/api/v1/restore?backup="+fingerprint(t, d.read(t, "keys.backup"))+"&digest="+digest(d.read(t, "keys.backup")), bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Rekey-Approval", request)
			resp, err := client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode == http.StatusOK {
				t.Errorf("a wrong code: status %d, %v\n%s", resp.StatusCode, err, text)
			}
		})
	}
	guesses.Wait()
}
