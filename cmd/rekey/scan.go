//go:build !fipsonly

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/rotation"
)

// ringRegistrar puts the keys that a library publishes itself into the keyring.
type ringRegistrar struct{ ring *keyring.Ring }

// Register takes weak keys too: it is old media's key, and rekeying is the cure.
func (r ringRegistrar) Register(ctx context.Context, kid key.KID, k key.ContentKey, uri string) error {
	_, err := r.ring.Import(ctx, kid, k, keyring.ImportOptions{URI: uri, AllowWeak: true})
	for _, class := range []error{keyring.ErrExists, keyring.ErrWeak, keyring.ErrSyntax, keyring.ErrCorrupt, keyring.ErrForbidden, keyring.ErrTransition} {
		if errors.Is(err, class) {
			return fmt.Errorf("%w: %w", catalog.ErrKey, err)
		}
	}
	return err
}

// rescan indexes the engine's media root; in the place of another's only if it may.
func rescan(ctx context.Context, e *rotation.Engine, otherRoot bool) (catalog.ScanRecord, error) {
	o := e.Options()
	o.OtherRoot = otherRoot
	return catalog.Rescan(ctx, e.Media, e.Index(), ringRegistrar{e.Ring}, o, e.Clock)
}

func (a *app) scanCommand() *cobra.Command {
	var moved bool
	c := &cobra.Command{Use: "scan [MEDIA]", Short: "Index the assets of the media root and the KIDs they use", Args: cobra.MaximumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			a.cfg.Media = args[0]
		}
		e, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		rec, err := rescan(cmd.Context(), e, moved)
		if err != nil {
			return err
		}
		return a.printScan(cmd.Context(), e, rec)
	}}
	c.Flags().BoolVar(&moved, "moved", false, "the library is at another place now: forget what the index knows of the one before")
	return c
}

func (a *app) printScan(ctx context.Context, e *rotation.Engine, rec catalog.ScanRecord) error {
	if a.flags.json {
		return a.printJSON(rec)
	}
	if _, err := fmt.Fprintf(a.stdout, "%d assets, %d of them cannot be rekeyed\n", rec.Assets, rec.Refused); err != nil {
		return err
	}
	if len(rec.Opaque) > 0 {
		if _, err := fmt.Fprintf(a.stdout, "which keys they use is not known of: %s\n", strings.Join(rec.Opaque, ", ")); err != nil {
			return err
		}
	}
	if rec.Loose > 0 {
		if _, err := fmt.Fprintf(a.stdout, "%d media objects that no manifest leads to were not looked at\n", rec.Loose); err != nil {
			return err
		}
	}
	for s, err := range e.Index().Summaries(ctx) {
		if err != nil {
			return err
		}
		for _, r := range s.Refusals {
			if _, err := fmt.Fprintf(a.stdout, "%s refused: %s: %s\n", s.Asset, r.Object, r.Reason); err != nil {
				return err
			}
		}
	}
	return nil
}
