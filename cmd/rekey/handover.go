//go:build !fipsonly

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
)

// commandReceiver hands keys to a command on its stdin: never on its command
// line, which every process of the machine can read. Exit 0 acknowledges them.
type commandReceiver struct {
	argv   []string
	stderr io.Writer
}

func (r commandReceiver) Receive(ctx context.Context, lines []byte) error {
	c := exec.CommandContext(ctx, r.argv[0], r.argv[1:]...)
	c.Stdin = bytes.NewReader(lines)
	c.Stdout, c.Stderr = r.stderr, r.stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("run hand-over command %s: %w", r.argv[0], err)
	}
	return nil
}
