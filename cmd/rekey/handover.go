//go:build !fipsonly

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os/exec"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/rotation"
)

// commandReceiver hands keys to a command on its stdin: never on its command
// line, which every process of the machine can read. Exit 0 acknowledges them.
// What it prints goes nowhere; what it complains of is passed on, but for what
// could be a key.
type commandReceiver struct {
	argv   []string
	stderr io.Writer
}

func (r commandReceiver) Receive(ctx context.Context, keys []rotation.Handed) error {
	lines := make([]byte, 0, len(keys)*66) // never grown, so that no copy is left behind
	defer clear(lines[:cap(lines)])
	for _, k := range keys {
		raw := k.Key.RevealSecretBytes()
		lines = append(lines, k.KID.String()...)
		lines = append(lines, ':')
		lines = hex.AppendEncode(lines, raw[:])
		lines = append(lines, '\n')
		clear(raw[:])
	}
	c := exec.CommandContext(ctx, r.argv[0], r.argv[1:]...)
	c.Stdin = bytes.NewReader(lines)
	said := &masked{to: r.stderr, kids: map[key.KID]bool{}}
	for _, k := range keys {
		said.kids[k.KID] = true
	}
	c.Stderr = said
	err := c.Run()
	said.flush()
	if err != nil {
		return fmt.Errorf("run hand-over command %s: %w", r.argv[0], err)
	}
	return nil
}
