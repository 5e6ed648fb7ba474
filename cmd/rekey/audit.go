package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/keyring"
)

func (a *app) auditCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Verify, prove and read the audit log",
		Long: "Every use of a key, and every change to keys and media, is a record in the control\n" +
			"store. A sequencer (rekey serve, or rekey audit sequence) puts the records in a\n" +
			"Merkle tree and signs checkpoints of it. Keep checkpoints, and the verifier key,\n" +
			"where those who may write to the control store cannot: verify holds the log\n" +
			"against them.",
	}
	c.AddCommand(a.auditVerifyCommand(), a.auditProveCommand(), a.auditExportCommand(), a.auditTailCommand(), a.auditSequenceCommand())
	return c
}

// trust is what a holder has of the log: its public key and checkpoints.
type trust struct {
	key         string
	checkpoints []string
}

func (t *trust) flags(c *cobra.Command) {
	c.Flags().StringVar(&t.key, "key", "", "the log's verifier key, or a file of it (REKEY_AUDIT_KEY)")
	c.Flags().StringArrayVar(&t.checkpoints, "checkpoint", nil, "file of checkpoints held outside the control store (repeatable)")
}

// load reads the key and the files.
func (t *trust) load() (note.Verifier, []audit.Checkpoint, error) {
	key := first(t.key, os.Getenv("REKEY_AUDIT_KEY"))
	if key == "" {
		return nil, nil, usagef("no verifier key: --key or REKEY_AUDIT_KEY; the sequencer prints it")
	}
	v, err := note.NewVerifier(key)
	if err != nil {
		b, readErr := os.ReadFile(key) //nolint:gosec // the user names it
		if readErr != nil {
			return nil, nil, usagef("verifier key: neither a key (%v) nor a file of one (%v)", err, readErr)
		}
		if v, err = note.NewVerifier(strings.TrimSpace(string(b))); err != nil {
			return nil, nil, usagef("verifier key: %s: %v", key, err)
		}
	}
	var held []audit.Checkpoint
	for _, name := range t.checkpoints {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, usagef("held checkpoint: %v", err)
		}
		got, err := audit.ParseHeld(b, v)
		if err != nil {
			return nil, nil, fmt.Errorf("read held checkpoint %s: %w", name, err)
		}
		held = append(held, got...)
	}
	return v, held, nil
}

func (a *app) auditVerifyCommand() *cobra.Command {
	var t trust
	var proof string
	c := &cobra.Command{
		Use: "verify", Short: "Find records that were changed, removed, reordered or inserted, a log that was cut or forked, and keys put back in an old state",
		Long: "verify recomputes the tree and holds it against the published checkpoint, those\n" +
			"that --checkpoint names and the streams' objects, and the states of keys against\n" +
			"the log. With --proof it checks one record's proof and needs no store.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, held, err := t.load()
			if err != nil {
				return err
			}
			if proof != "" {
				return a.auditCheckProof(proof, v, held)
			}
			return a.auditVerify(cmd.Context(), v, held)
		},
	}
	t.flags(c)
	c.Flags().StringVar(&proof, "proof", "", "check the proof in this file, offline")
	return c
}

func (a *app) auditVerify(ctx context.Context, v note.Verifier, held []audit.Checkpoint) error {
	control, err := a.openControl(ctx)
	if err != nil {
		return err
	}
	states, err := keyring.BeginStateAudit(ctx, control)
	if err != nil {
		return err
	}
	out, err := audit.Verify(ctx, control, audit.VerifyOptions{Verifier: v, Held: held, Each: states.Add})
	if err != nil {
		return err
	}
	found, err := states.Check(ctx)
	if err != nil {
		return err
	}
	out.Count += len(found)
	out.Findings = append(out.Findings, found...)
	if err := a.printVerified(out); err != nil {
		return err
	}
	if !out.Good() {
		return fmt.Errorf("%w: %d in the audit log", errBad, out.Count)
	}
	return nil
}

func (a *app) printVerified(v *audit.Verified) error {
	if a.flags.json {
		return a.printJSON(v)
	}
	for _, f := range v.Findings {
		if _, err := fmt.Fprintln(a.stdout, f); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(a.stdout, "%d entries, %d records in the tree, %d not sequenced yet, held against %d checkpoints: %d findings\n",
		v.Size, v.Records, v.Unsequenced, v.Held, v.Count)
	if err == nil && v.Held == 0 {
		_, err = fmt.Fprintln(a.stdout, "no checkpoint was given: a log that was replaced by an older one of itself is not found out")
	}
	return err
}

func (a *app) auditCheckProof(name string, v note.Verifier, held []audit.Checkpoint) error {
	b, err := os.ReadFile(name) //nolint:gosec // the user names it
	if err != nil {
		return usagef("proof: %v", err)
	}
	p, err := audit.ParseProof(b)
	if err != nil {
		return fmt.Errorf("read proof %s: %w", name, err)
	}
	e, err := p.Check(v, held)
	if err != nil {
		return fmt.Errorf("%w: %w", errBad, err)
	}
	return a.printEntries([]audit.Entry{e})
}

func (a *app) auditProveCommand() *cobra.Command {
	var t trust
	c := &cobra.Command{
		Use: "prove RECORD", Short: "Print the proof that a record is in the log",
		Long: "prove takes a record's id, STREAM/NUMBER as tail and export print it, or the name\n" +
			"of its object. The proof is of the largest checkpoint that --checkpoint names, or\n" +
			"of the published one; rekey audit verify --proof checks it without the store.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, held, err := t.load()
			if err != nil {
				return err
			}
			control, err := a.openControl(cmd.Context())
			if err != nil {
				return err
			}
			p, err := audit.Prove(cmd.Context(), control, args[0], audit.ProveOptions{Verifier: v, Held: held})
			if errors.Is(err, audit.ErrInvalid) {
				return usagef("%v", err)
			}
			if err != nil {
				return err
			}
			b, err := p.JSON()
			if err == nil {
				_, err = a.stdout.Write(b)
			}
			return err
		},
	}
	t.flags(c)
	return c
}
