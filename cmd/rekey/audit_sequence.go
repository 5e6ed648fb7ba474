package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/store"
)

// auditSequenceCommand is for where no rekey serve runs, and for cron.
func (a *app) auditSequenceCommand() *cobra.Command {
	var o sequenceFlags
	c := &cobra.Command{
		Use: "sequence", Short: "Put new records in the tree and sign a checkpoint, once",
		Long: "sequence does one pass of what rekey serve does all the time. The signing key's file\n" +
			"is made, mode 0600, where there is none. Keep it away from workers and from those who\n" +
			"may write to the control store. The verifier key is printed for those who hold\n" +
			"checkpoints.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.key == "" {
				return usagef("no signing key: --signing-key FILE")
			}
			return a.auditSequence(cmd.Context(), o)
		},
	}
	c.Flags().StringVar(&o.key, "signing-key", "", "file of the log's signing key")
	c.Flags().StringVar(&o.origin, "origin", "rekey-audit", "name of the log, where the key is made")
	c.Flags().StringVar(&o.verifier, "verifier-key", "", "write the verifier key to this file")
	c.Flags().StringArrayVar(&o.ship, "ship", nil, "also send the checkpoint to a file, an http(s):// URL or s3://bucket/prefix (repeatable)")
	return c
}

type sequenceFlags struct {
	key, origin, verifier string
	ship                  []string
}

func (a *app) auditSequence(ctx context.Context, o sequenceFlags) error {
	control, err := a.openControl(ctx)
	if err != nil {
		return err
	}
	signer, err := openSigner(ctx, control, o.key, o.origin)
	if err != nil {
		return err
	}
	if o.verifier != "" {
		if err := os.WriteFile(o.verifier, []byte(signer.VerifierKey()+"\n"), 0o644); err != nil { //nolint:gosec // public
			return fmt.Errorf("write verifier key: %w", err)
		}
	}
	var shippers []audit.Shipper
	for _, to := range o.ship {
		s, err := openShipper(ctx, to)
		if err != nil {
			return err
		}
		shippers = append(shippers, s)
	}
	actor := actorName()
	q := audit.NewSequencer(audit.SequencerOptions{Store: control, Signer: signer, Owner: ownerName(actor), Shippers: shippers})
	added, last, err := foldAll(ctx, q)
	if err != nil && last.Size == 0 {
		return fmt.Errorf("%w (verifier key: %s)", err, signer.VerifierKey())
	}
	return errors.Join(a.printFolded(added, last, signer.VerifierKey()), err)
}

// foldAll also gives the lease up: a process that ends must keep nobody waiting.
func foldAll(ctx context.Context, q *audit.Sequencer) (added int64, last audit.Checkpoint, err error) {
	for {
		f, err := q.Fold(ctx)
		added, last = added+f.Added, f.Checkpoint
		if err != nil || !f.More {
			if errors.Is(err, audit.ErrLeased) {
				return added, last, err
			}
			return added, last, errors.Join(err, q.Release(ctx))
		}
	}
}

func (a *app) printFolded(added int64, c audit.Checkpoint, key string) error {
	if a.flags.json {
		return a.printJSON(map[string]any{"added": added, "size": c.Size, "checkpoint": string(c.Signed), "verifier_key": key})
	}
	_, err := fmt.Fprintf(a.stdout, "%d entries added, %d in the tree\nverifier key: %s\n", added, c.Size, key)
	return err
}

// openShipper reads where checkpoints go: a URL, another bucket, or a file.
func openShipper(ctx context.Context, to string) (audit.Shipper, error) {
	switch {
	case strings.HasPrefix(to, "http://"), strings.HasPrefix(to, "https://"):
		return audit.WebhookShipper{URL: to}, nil
	case isS3(to):
		s, err := store.Open(ctx, to)
		if errors.Is(err, store.ErrLocation) || errors.Is(err, store.ErrNotFound) {
			return nil, usagef("--ship: %v", err)
		}
		if err != nil {
			return nil, fmt.Errorf("open where checkpoints are shipped to: %w", err)
		}
		return audit.StoreShipper{Store: s}, nil
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		s, err := store.OpenDir(to)
		if err != nil {
			return nil, fmt.Errorf("open where checkpoints are shipped to: %w", err)
		}
		return audit.StoreShipper{Store: s}, nil
	}
	return audit.FileShipper{Path: to}, nil
}
