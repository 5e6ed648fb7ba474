package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/keyring/backup"
	"github.com/seed-6133abe0/rekey/keyring/backup/restore"
)

func (a *app) keysBackupCommand() *cobra.Command {
	var o backup.Options
	var holders []string
	var reason, enrol, request string
	var skip bool
	c := &cobra.Command{
		Use: "backup FILE", Short: "Write all keys into one file under a master split among holders", Args: cobra.ExactArgs(1),
		Long: "Writes every key and its record, encrypted under a master that is made for this\nfile alone and split among the holders: --threshold of them restore it, and fewer\nopen nothing. Each share in the file is sealed to its holder's public key (P-256,\nPEM). The second factor's otpauth URL goes to --enrol, once: give it to whoever\nkeeps the authenticator, and delete it. Where roles are in force a second person\nhas to agree to the threshold and the holders' keys: see rekey serve.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" || enrol == "" {
				return usagef("keys backup needs --reason and --enrol")
			}
			if err := readHolders(&o, holders); err != nil {
				return err
			}
			if err := o.Check(); err != nil {
				return err
			}
			return a.keysBackup(cmd.Context(), backupFlags{o, args[0], enrol, reason, request, skip})
		},
	}
	f := c.Flags()
	f.StringArrayVar(&holders, "holder", nil, "NAME=FILE: a holder and the public key (PEM, P-256) of theirs (repeat)")
	f.IntVar(&o.Threshold, "threshold", 0, "how many holders a restore needs")
	f.StringVar(&enrol, "enrol", "", "file that the second factor's otpauth URL is written to, mode 0600")
	f.StringVar(&o.Comment, "comment", "", "stands in the file for all to read")
	f.StringVar(&reason, "reason", "", "why, for the audit record")
	f.StringVar(&request, "request", "", "the approved request that this carries out")
	f.BoolVar(&skip, "skip-unreadable", false, "leave out records and secrets that cannot be read, and name them (exit 4)")
	return c
}

// backupFlags say how a backup is made, and into which files.
type backupFlags struct {
	backup.Options
	file, enrol, reason, request string
	skip                         bool
}

func readHolders(o *backup.Options, holders []string) error {
	for _, h := range holders {
		name, file, ok := strings.Cut(h, "=")
		if !ok {
			return usagef("--holder %q is not NAME=FILE", h)
		}
		k, err := backup.ReadPublicKey(file)
		if err != nil {
			return usagef("--holder %s: %v", name, err)
		}
		o.Holders = append(o.Holders, backup.Holder{Name: name, Key: k})
	}
	return nil
}

// madeBackup is the --json shape of keys backup.
type madeBackup struct {
	Backup  string `json:"backup"` // the fingerprint
	Entries int64  `json:"entries"`
	Shares  int    `json:"shares"`
	Needs   int    `json:"needs"`
	// Skipped are the objects that could not be read.
	Skipped []string `json:"skipped,omitempty"`
}

func (a *app) keysBackup(ctx context.Context, o backupFlags) error {
	c, err := a.remote()
	if err != nil {
		return err
	}
	if c != nil {
		return a.remoteBackup(ctx, c, o)
	}
	k, err := a.openKeys(ctx, nil)
	if err != nil {
		return err
	}
	if err := k.mayAlone(ctx, "keys backup"); err != nil {
		return err
	}
	if err := k.audit.Append(ctx, audit.Record{Action: audit.KeyBackup, Object: o.file, Outcome: audit.Allowed, Reason: o.reason}); err != nil {
		return err
	}
	o.Created, o.Tool, o.Source = time.Now().UTC(), "rekey", a.cfg.Control
	var skipped []string
	made, err := writeBoth(o.file, o.enrol, k.entries(ctx, o, &skipped), o.Options)
	if err != nil {
		e := audit.Record{Action: audit.KeyBackup, Object: o.file, Outcome: audit.Failed, Reason: err.Error()}
		return joinRecord(err, k.audit.Append(ctx, e))
	}
	e := audit.Record{Action: audit.KeyBackup, Object: made.Header.Fingerprint(), Outcome: "done", Reason: o.reason}
	if n := len(skipped); n > 0 {
		e.Reason = fmt.Sprintf("%d left out, since they cannot be read: %s", n, o.reason)
	}
	if err := k.audit.Append(ctx, e); err != nil {
		return err
	}
	return a.printBackup(madeBackup{made.Header.Fingerprint(), int64(made.Summary.Entries), len(made.Header.Shares), o.Threshold, skipped}, o.enrol)
}

// printBackup ends in errPartial where something was left out.
func (a *app) printBackup(b madeBackup, enrol string) error {
	var err error
	if a.flags.json {
		err = a.printJSON(b)
	} else {
		_, err = fmt.Fprintf(a.stdout, "backup %s: %d keys and secrets, %d of %d shares restore it\nsecond factor: %s\n", b.Backup, b.Entries, b.Needs, b.Shares, enrol)
		for _, name := range b.Skipped {
			if err == nil {
				_, err = fmt.Fprintf(a.stdout, "left out, since it cannot be read: %s\n", name)
			}
		}
	}
	if err == nil && len(b.Skipped) > 0 {
		err = left(fmt.Sprintf("%d records and secrets are not in the backup", len(b.Skipped)))
	}
	return err
}

// entries are the ring's copies as a backup takes them; skipped names what is left
// out.
func (k *keyroom) entries(ctx context.Context, o backupFlags, skipped *[]string) iter.Seq2[backup.Entry, error] {
	var leave func(string, error)
	if o.skip {
		leave = func(object string, _ error) { *skipped = append(*skipped, object) }
	}
	return func(yield func(backup.Entry, error) bool) {
		for c, err := range k.ring.CopiesBut(ctx, o.reason, leave) {
			if !yield(backup.Entry(c), err) {
				return
			}
		}
	}
}

// writeBoth writes a backup and its second factor, two files that must not be
// there, both or neither: one is worth nothing without the other.
func writeBoth(name, enrol string, entries iter.Seq2[backup.Entry, error], o backup.Options) (made backup.Made, err error) {
	// First the one with the secret in it: if it cannot be made no key is opened.
	err = writeWhole(enrol, func(factor io.Writer) error {
		return writeWhole(name, func(w io.Writer) error {
			if made, err = backup.Write(w, entries, o); err != nil {
				return err
			}
			_, err := fmt.Fprintln(factor, made.Enrolment.RevealURL())
			return err
		})
	})
	if err != nil && made.Header != nil {
		_ = os.Remove(name)
	}
	return made, err
}

// writeWhole writes a file (0600) that must not be there, whole or not at all.
func writeWhole(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write new file: %w", err)
	}
	w := bufio.NewWriter(f)
	if err = write(w); err == nil {
		err = errors.Join(w.Flush(), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(name)
	}
	return err
}

// shareFlags say where shares come from: holders' private keys that are here, or
// shares that holders sealed to the machine that restores.
type shareFlags struct {
	holderKeys, shares []string
	shareKey           string
}

func (s *shareFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&s.holderKeys, "holder-key", nil, "file (PEM, 0600) of a holder's private key (repeat)")
	c.Flags().StringArrayVar(&s.shares, "share", nil, "file of a share that rekey keys share sealed to --share-key, or to the --server (repeat)")
	c.Flags().StringVar(&s.shareKey, "share-key", "", "file (PEM, 0600) of this machine's private key that shares are sealed to, where no --server restores")
}

// open opens the shares of the holders' keys.
func (s *shareFlags) open(h *backup.Header) ([]backup.Share, error) {
	var out []backup.Share
	for _, file := range s.holderKeys {
		k, err := backup.ReadPrivateKey(file)
		if err != nil {
			return nil, usagef("--holder-key: %v", err)
		}
		share, err := openShare(h, k)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, share)
	}
	return out, nil
}

// openSealed opens the shares that were sealed to this machine.
func (s *shareFlags) openSealed(h *backup.Header) ([]backup.Share, error) {
	switch {
	case len(s.shares) == 0 && s.shareKey == "":
		return nil, nil
	case len(s.shares) == 0 || s.shareKey == "":
		return nil, usagef("without --server --share and --share-key go together")
	}
	k, err := backup.ReadPrivateKey(s.shareKey)
	if err != nil {
		return nil, usagef("--share-key: %v", err)
	}
	var out []backup.Share
	for _, file := range s.shares {
		text, err := readShare(file)
		if err != nil {
			return nil, err
		}
		sealed, err := backup.ParseSealedShare([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		share, err := h.OpenShare(sealed, k)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, share)
	}
	return out, nil
}

const maxShareFile = 64 << 10 // bytes

// readShare is the text of a sealed share.
func readShare(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", usagef("--share: %v", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxShareFile))
	if err != nil {
		return "", usagef("--share: %v", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// openShare finds the share that is sealed to a key.
func openShare(h *backup.Header, k *ecdh.PrivateKey) (backup.Share, error) {
	print := backup.Fingerprint(k.PublicKey())
	for _, s := range h.Shares {
		if s.Recipient == print {
			return h.OpenShare(s, k)
		}
	}
	return backup.Share{}, fmt.Errorf("%w: no share of this backup is", backup.ErrHolder)
}

func (a *app) keysShareCommand() *cobra.Command {
	var holderKey, to, print string
	c := &cobra.Command{
		Use: "share BACKUP", Short: "Seal a holder's share to the machine that restores", Args: cobra.MaximumNArgs(1),
		Long: "Opens the share that is sealed to a holder, on the holder's machine, and seals it to\nthe public key (--to) of the machine that restores: a server's is printed by rekey\nkeys restore --show-key. The sealed share is printed. --fingerprint prints that of a public key, to\ncompare with what is asked for.",
		RunE: func(_ *cobra.Command, args []string) error {
			if print != "" {
				return a.printFingerprint(print)
			}
			if len(args) != 1 {
				return usagef("keys share needs a backup")
			}
			body, err := os.ReadFile(args[0])
			if err != nil {
				return usagef("read backup: %v", err)
			}
			h, err := backup.ReadHeader(bytes.NewReader(body))
			if err != nil {
				return err
			}
			k, err := backup.ReadPrivateKey(holderKey)
			if err != nil {
				return usagef("--holder-key: %v", err)
			}
			pub, err := backup.ReadPublicKey(to)
			if err != nil {
				return usagef("--to: %v", err)
			}
			share, err := openShare(h, k)
			if err != nil {
				return err
			}
			text, err := sealTo(share, pub)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.stdout, text)
			return err
		},
	}
	c.Flags().StringVar(&holderKey, "holder-key", "", "file (PEM, 0600) of the holder's private key")
	c.Flags().StringVar(&to, "to", "", "file of the public key (PEM) to seal to")
	c.Flags().StringVar(&print, "fingerprint", "", "print the fingerprint of this file's public key (PEM), and no share")
	return c
}

func (a *app) printFingerprint(file string) error {
	k, err := backup.ReadPublicKey(file)
	if err != nil {
		return usagef("--fingerprint: %v", err)
	}
	if a.flags.json {
		return a.printJSON(map[string]string{"fingerprint": backup.Fingerprint(k)})
	}
	_, err = fmt.Fprintln(a.stdout, backup.Fingerprint(k))
	return err
}

func sealTo(s backup.Share, to *ecdh.PublicKey) (string, error) {
	sealed, err := s.SealTo(to)
	if err != nil {
		return "", err
	}
	text, err := sealed.MarshalText()
	return strings.TrimSpace(string(text)), err
}

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
