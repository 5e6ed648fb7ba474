package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/seed-6133abe0/rekey/keyring/backup"
	"github.com/seed-6133abe0/rekey/keyring/backup/restore"
)

// restored is the --json shape of keys restore.
type restored struct {
	Entries  int               `json:"entries"`
	Created  int               `json:"created"`
	Backup   string            `json:"backup"`
	Replaced int               `json:"replaced,omitempty"`
	Failed   []restore.Failure `json:"failed,omitempty"`
}

// countsOf is what a restore came to.
func countsOf(c restore.Counts, h *backup.Header) restored {
	return restored{c.Entries, c.Created, h.Fingerprint(), c.Replaced, c.Failed}
}

// left is what was not done of the rest that was: it is errPartial, in words of its
// own.
type left string

func (l left) Error() string { return string(l) }

func (left) Unwrap() error { return errPartial }

// partial is an error where keys are not restored.
func (r restored) partial() error {
	if len(r.Failed) == 0 {
		return nil
	}
	return left(fmt.Sprintf("%d of %d keys and secrets of the backup are not restored", len(r.Failed), len(r.Failed)+r.Entries))
}

func (a *app) printRestored(r restored, check bool) error {
	if a.flags.json {
		return errors.Join(a.printJSON(r), r.partial())
	}
	what := "restored"
	if check {
		what = "checked on a scratch store, and nothing was restored"
	}
	_, err := fmt.Fprintf(a.stdout, "backup %s %s: %d keys and secrets, %d of them were not there\n", r.Backup, what, r.Entries, r.Created)
	if err == nil && r.Replaced > 0 {
		_, err = fmt.Fprintf(a.stdout, "%d of them stood in a record that did not read; what was there is kept under corrupt/\n", r.Replaced)
	}
	for _, f := range r.Failed {
		if err == nil {
			_, err = fmt.Fprintf(a.stdout, "not restored: %s: %s\n", f.KID, f.Reason)
		}
	}
	return errors.Join(err, r.partial())
}

// readCode reads the second factor's code: never from an argument. On a terminal it
// asks.
func (a *app) readCode() (string, error) {
	return readCode(a.stdin, a.stderr)
}

func readCode(in io.Reader, prompt io.Writer) (string, error) {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) { //nolint:gosec // a descriptor
		if _, err := fmt.Fprint(prompt, "code of the second factor: "); err != nil {
			return "", err
		}
	}
	line, err := bufio.NewReader(io.LimitReader(in, 64)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read code: %w", err)
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", usagef("the second factor's code is read from standard input, and there was none")
	}
	return line, nil
}
