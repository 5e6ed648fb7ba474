package restoredrill

import (
	"context"
	"os"
	"strings"
	"testing"
)

// book are the command lines of "Backup and restore" in docs/keys.md, in the
// order of its blocks.
type book struct{ holder, backup, machine, sealed, server []string }

func readBook(t *testing.T) book {
	t.Helper()
	b, err := os.ReadFile("../../docs/keys.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## Backup and restore\n")
	section, _, ok2 := strings.Cut(section, "\n## ")
	if !ok || !ok2 {
		t.Fatal("docs/keys.md has no such section")
	}
	var blocks [][]string
	for i, part := range strings.Split(section, "```\n") {
		if i%2 == 0 {
			continue
		}
		var lines []string
		for line := range strings.Lines(part) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				lines = append(lines, strings.TrimSpace(command))
			}
		}
		blocks = append(blocks, lines)
	}
	if len(blocks) != 5 {
		t.Fatalf("the section has %d blocks, want 5", len(blocks))
	}
	return book{blocks[0], blocks[1], blocks[2], blocks[3], blocks[4]}
}

// follow runs lines as they stand. A restore reads a code.
func (m *machine) follow(t *testing.T, ctx context.Context, otp *authenticator, lines []string) {
	t.Helper()
	if len(lines) == 0 {
		t.Fatal("there is no line to follow")
	}
	for _, line := range lines {
		code := ""
		if strings.Contains(line, "keys restore ") {
			code = otp.code(t, ctx) + "\n"
		}
		if a := m.shell(t, ctx, code, line); a.code != 0 {
			t.Fatalf("$ %s\nexit %d\n%s%s", line, a.code, a.stdout, a.stderr)
		}
	}
}

// holders makes the keys of three, as the book says for the first.
func (b book) holders(t *testing.T, ctx context.Context, m *machine) {
	t.Helper()
	for _, name := range []string{"anna", "ben", "cleo"} {
		for _, line := range b.holder {
			if a := m.shell(t, ctx, "", strings.ReplaceAll(line, "anna", name)); a.code != 0 {
				t.Fatalf("$ %s: exit %d\n%s", line, a.code, a.stderr)
			}
		}
	}
}

// backedUp is a machine with the backup of the book, and the authenticator.
func (b book) backedUp(t *testing.T, ctx context.Context, m *machine) *authenticator {
	t.Helper()
	b.holders(t, ctx, m)
	m.follow(t, ctx, nil, b.backup[:1])
	return enrolled(t, m.read(t, "otp.txt"))
}

// left is what is left of a machine that is lost: a backup, and what holders have.
func left() []string { return []string{"keys.backup", "anna.key", "ben.key", "cleo.key"} }
