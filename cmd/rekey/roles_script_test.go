package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestRoleScripts tells what people do with tokens, by the program itself.
func TestRoleScripts(t *testing.T) {
	found, err := filepath.Glob("testdata/script/roles*.txtar")
	if err != nil || len(found) == 0 {
		t.Fatalf("no scripts (%v)", err)
	}
	testscript.Run(t, testscript.Params{
		Files: found,
		Setup: func(e *testscript.Env) error {
			e.Setenv("REKEY_MASTER_KEY_FILE", filepath.Join(e.WorkDir, "master.key"))
			e.Setenv("REKEY_MEDIA", filepath.Join(e.WorkDir, "media"))
			e.Setenv("K", "00000000000000000000000000000001")
			e.Setenv("OTHER", "00000000000000000000000000000002")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exitsWith, "serve": startServer, "keep": keepOutput, "request": takeRequest, "api": askServer,
		},
	})
}

// exitsWith runs the program and checks its code: exits CODE ARG...
func exitsWith(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec("rekey", args[1:]...); err != nil {
		got = exitStatus(err)
	}
	if got != want {
		ts.Fatalf("rekey %v: exit %d, want %d", args[1:], got, want)
	}
}

// keepOutput writes what the last command printed to a file of mode 0600: keep FILE
func keepOutput(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(ts.ReadFile("stdout")), 0o600))
}

// takeRequest sets REQUEST to the id that the last command printed.
func takeRequest(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Setenv("REQUEST", strings.TrimSpace(ts.ReadFile("stdout")))
}

// startServer runs rekey serve until the script ends, and sets REKEY_SERVER: serve
// ARG...
func startServer(ts *testscript.TestScript, _ bool, args []string) {
	program, err := os.Executable()
	ts.Check(err)
	c := exec.Command(program, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...) //nolint:gosec // this program
	// The program is the test's binary under another name.
	c.Args[0], c.Dir = "rekey", ts.MkAbs(".")
	c.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"),
		"REKEY_MEDIA=" + ts.Getenv("REKEY_MEDIA"), "REKEY_MASTER_KEY_FILE=" + ts.Getenv("REKEY_MASTER_KEY_FILE")}
	said, err := c.StderrPipe()
	ts.Check(err)
	ts.Check(c.Start())
	said2 := &lines{r: said}
	address, found := said2.until("queue page: ")
	go func() { _, _ = io.Copy(io.Discard, said) }()
	ts.Defer(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	})
	if !found {
		ts.Fatalf("serve says no address: %s", said2.text.String())
	}
	ts.Setenv("REKEY_SERVER", strings.TrimSuffix(address, "/queue"))
}

// askServer makes a request of the API and prints the answer: api STATUS TOKENFILE
// METHOD PATH
func askServer(ts *testscript.TestScript, _ bool, args []string) {
	r, err := http.NewRequest(args[2], ts.Getenv("REKEY_SERVER")+"/api/v1/"+args[3], strings.NewReader("{}")) //nolint:noctx // a script has none
	ts.Check(err)
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(ts.ReadFile(args[1])))
	resp, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if strconv.Itoa(resp.StatusCode) != args[0] {
		ts.Fatalf("api %v: %s: %s", args[1:], resp.Status, b)
	}
	_, err = ts.Stdout().Write(b)
	ts.Check(err)
}
