package keyservices

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
)

// answer is what one run of the command came to.
type answer struct {
	code           int
	stdout, stderr string
}

func (l *lab) command(ctx context.Context, args []string) *exec.Cmd {
	c := exec.CommandContext(ctx, l.program, args...)
	c.Env = append(os.Environ(), l.env...)
	c.Dir = l.dir
	return c
}

// run runs the command to its end.
func (l *lab) run(t *testing.T, ctx context.Context, stdin string, args ...string) answer {
	t.Helper()
	c := l.command(ctx, args)
	var out, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &out, &errs
	hangUp := l.terminal(t, c)
	err := c.Run()
	hangUp()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("rekey %s: %v", strings.Join(args, " "), err)
	}
	a := answer{code: c.ProcessState.ExitCode(), stdout: out.String(), stderr: errs.String()}
	l.hear(a.stdout)
	l.hear(a.stderr)
	return a
}

// do runs the command, which has to work, and returns what it printed.
func (l *lab) do(t *testing.T, ctx context.Context, args ...string) string {
	t.Helper()
	return l.fed(t, ctx, "", args...)
}

// fed is do with something on standard input.
func (l *lab) fed(t *testing.T, ctx context.Context, stdin string, args ...string) string {
	t.Helper()
	a := l.run(t, ctx, stdin, args...)
	if a.code != 0 {
		t.Fatalf("rekey %s: exit %d, want 0 (context: %v)\n%s%s", strings.Join(args, " "), a.code, ctx.Err(), a.stdout, a.stderr)
	}
	return a.stdout
}

// refused runs the command, which has to be refused with a class.
func (l *lab) refused(t *testing.T, ctx context.Context, class string, args ...string) {
	t.Helper()
	a := l.run(t, ctx, "", append([]string{"--json"}, args...)...)
	var got struct{ Error, Class string }
	lines := strings.Split(strings.TrimSpace(a.stderr), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil || a.code != 1 || got.Class != class {
		t.Errorf("rekey %s: exit %d, %s%s; want exit 1 and class %s", strings.Join(args, " "), a.code, a.stdout, a.stderr, class)
	}
}

// printed reads what a command prints as JSON.
func printed[T any](t *testing.T, ctx context.Context, l *lab, args ...string) (v T) {
	t.Helper()
	out := l.do(t, ctx, append([]string{"--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("rekey %s printed %q: %v", strings.Join(args, " "), out, err)
	}
	return v
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
	hangUp := l.terminal(t, p.cmd)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is in ProcessState
		hangUp()
		l.hear(p.out.String())
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("rekey %s:\n%s", strings.Join(args, " "), p.out)
		}
	})
	return p
}

// over reports whether the process has ended.
func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// wait wants the process to end by itself, with exit 0.
func (p *process) wait(t *testing.T, ctx context.Context) {
	t.Helper()
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Fatalf("%s: exit %d, want 0\n%s", p.cmd, code, p.out)
		}
	case <-ctx.Done():
		t.Fatalf("%s did not end: %v\n%s", p.cmd, ctx.Err(), p.out)
	}
}

// stop asks the process to end and wants it to end well.
func (p *process) stop(t *testing.T, ctx context.Context) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.wait(t, ctx)
}

// eventually asks often, and fails the test where the answer stays no.
func eventually(t *testing.T, ctx context.Context, what string, yes func() bool) {
	t.Helper()
	for !yes() {
		select {
		case <-ctx.Done():
			t.Fatalf("it never came true that %s: %v", what, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
