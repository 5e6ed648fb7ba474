package endtoend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/rotation"
)

// answer is what one run of the command came to.
type answer struct {
	code           int
	stdout, stderr string
}

func (l *lab) command(ctx context.Context, args []string) *exec.Cmd {
	argv := append([]string{
		"--media", l.mediaURL, "--control", l.controlURL, "--redis", l.redis,
		"--handover", "none", "--master-key", l.master,
	}, args...)
	c := exec.CommandContext(ctx, l.program, argv...)
	c.Env = append(os.Environ(), l.minio.Environ()...)
	c.Dir = l.dir
	return c
}

// rekey runs the command to its end.
func (l *lab) rekey(t *testing.T, ctx context.Context, stdin []byte, args ...string) answer {
	t.Helper()
	c := l.command(ctx, args)
	var out, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(stdin), &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("rekey %s: %v", strings.Join(args, " "), err)
	}
	return answer{code: c.ProcessState.ExitCode(), stdout: out.String(), stderr: errs.String()}
}

func (l *lab) succeed(t *testing.T, ctx context.Context, a answer) string {
	t.Helper()
	if a.code != 0 {
		t.Fatalf("exit %d, want 0 (context: %v)\n%s%s", a.code, ctx.Err(), a.stdout, a.stderr)
	}
	return a.stdout
}

// begin plans a compromise by the command and returns the rotation's ID.
func (l *lab) begin(t *testing.T, ctx context.Context, flags ...string) string {
	t.Helper()
	out := l.succeed(t, ctx, l.rekey(t, ctx, nil, append([]string{"-v", "--json", "compromise", "--reason", "test"}, flags...)...))
	var started struct{ Rotation string }
	if err := json.Unmarshal([]byte(out), &started); err != nil || started.Rotation == "" {
		t.Fatalf("compromise printed %q: %v", out, err)
	}
	return started.Rotation
}

// status asks the command how a rotation stands.
func (l *lab) status(t *testing.T, ctx context.Context, id string) rotation.Status {
	t.Helper()
	var s rotation.Status
	if err := json.Unmarshal([]byte(l.succeed(t, ctx, l.rekey(t, ctx, nil, "--json", "status", id))), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// process is the command while it runs.
type process struct {
	cmd   *exec.Cmd
	out   *output
	ended chan struct{}
}

// output gathers what a process writes, while it is read.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs the command until the test ends, unless it ends before.
func (l *lab) start(t *testing.T, ctx context.Context, args ...string) *process {
	t.Helper()
	p := &process{cmd: l.command(ctx, args), out: &output{}, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is in ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if s := p.out.String(); strings.Contains(s, "DATA RACE") {
			t.Errorf("rekey %s:\n%s", strings.Join(args, " "), s)
		}
	})
	return p
}

// wait returns the exit code of a process that ends by itself.
func (p *process) wait(t *testing.T, ctx context.Context) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-ctx.Done():
		t.Fatalf("%s did not end: %v\n%s", p.cmd, ctx.Err(), p.out)
		return -1
	}
}

// stop asks the process to end and wants it to end well.
func (p *process) stop(t *testing.T, ctx context.Context) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t, ctx); code != 0 {
		t.Errorf("%s: exit %d after SIGTERM\n%s", p.cmd, code, p.out)
	}
}

// kill is kill -9.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
}

// eventually asks often, and fails the test where the answer stays no.
func eventually(t *testing.T, ctx context.Context, what string, yes func() bool) {
	t.Helper()
	for !yes() {
		select {
		case <-ctx.Done():
			t.Fatalf("it never came true that %s: %v", what, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}
