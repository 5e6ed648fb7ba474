package services

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"testing"
	"time"
)

// Redis starts a redis-server that keeps nothing on disk and returns its
// address. It never evicts, as asynq needs it (and as docker-compose.yml has it).
func Redis(t testing.TB) (addr string) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("package services needs redis-server: run `make tools`: %v", err)
	}
	dir := t.TempDir()
	return start(t, server{
		name: "redis-server",
		argv: func(addr string) []string {
			host, port, _ := net.SplitHostPort(addr)
			return []string{
				binary, "--bind", host, "--port", port, "--dir", dir,
				"--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
			}
		},
		ready: func(addr string) error { return redisHasDir(addr, dir) },
	})
}

// redisHasDir asks for the working directory, not for a PONG: it tells this
// server from another one that took the port first.
func redisHasDir(addr, dir string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprint(conn, "CONFIG GET dir\r\n"); err != nil {
		return err
	}
	// *2 $3 dir $n /the/path, a line each
	answer := bufio.NewScanner(conn)
	for range 5 {
		if !answer.Scan() {
			return fmt.Errorf("redis at %s: answer cut short: %w", addr, answer.Err())
		}
	}
	if got := answer.Text(); got != dir {
		return fmt.Errorf("redis at %s works in %q, not in %q", addr, got, dir)
	}
	return nil
}
