package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/keyring/backup"
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
