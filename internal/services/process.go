package services

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
	portAttempts = 5
)

// supervise runs its arguments until they end or standard input does. The test
// holds the other end of that pipe, so a test binary that panics or is killed
// takes its servers with it.
const supervise = `
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ read -r _ <&3; kill "$server"; } &
watcher=$!
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
`

// server is one process and how to tell that it answers. Each attempt to start
// it gets another port, since another process may take a free one first.
type server struct {
	name  string
	env   []string // added to the test's environment
	argv  func(addr string) []string
	ready func(addr string) error // nil once this very process answers
}

// start returns the address on which the server answers.
func start(t testing.TB, s server) string {
	t.Helper()
	var err error
	for range portAttempts {
		var addr string
		if addr, err = freeAddress(); err != nil {
			break
		}
		if err = run(t, s, addr); err == nil {
			return addr
		}
		if !errors.Is(err, errExited) {
			break
		}
	}
	t.Fatalf("start %s: %v", s.name, err)
	return ""
}

var errExited = errors.New("the process ended")

// run starts the process and returns when it answers; on an error it is gone.
func run(t testing.TB, s server, addr string) error {
	log, err := os.Create(filepath.Join(t.TempDir(), s.name+".log"))
	if err != nil {
		return err
	}
	argv := append([]string{"-c", supervise, s.name}, s.argv(addr)...)
	cmd := exec.Command("/bin/sh", argv...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdout, cmd.Stderr = log, log
	alive, err := cmd.StdinPipe()
	if err != nil {
		return errors.Join(err, log.Close())
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the status says nothing: a server ends by a signal
		close(exited)
	}()
	stop := func() error {
		return errors.Join(alive.Close(), awaitExit(cmd, exited), log.Close())
	}
	if err := awaitReady(s, addr, exited); err != nil {
		output, readErr := os.ReadFile(log.Name())
		return errors.Join(fmt.Errorf("%w\n%s", err, bytes.TrimSpace(output)), readErr, stop())
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop %s: %v", s.name, err)
		}
	})
	return nil
}

func awaitReady(s server, addr string, exited <-chan struct{}) error {
	deadline := time.After(startTimeout)
	for {
		answer := s.ready(addr)
		if answer == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("%w: %w", errExited, answer)
		case <-deadline:
			return fmt.Errorf("no answer on %s within %v: %w", addr, startTimeout, answer)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func awaitExit(cmd *exec.Cmd, exited <-chan struct{}) error {
	select {
	case <-exited:
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("process %d did not end within %v: %w", cmd.Process.Pid, stopTimeout, cmd.Process.Kill())
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil
}
