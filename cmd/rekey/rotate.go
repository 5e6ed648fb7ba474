//go:build !fipsonly

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/rotation"
)

func (a *app) rotateCommand() *cobra.Command {
	var older string
	var r runFlags
	c := &cobra.Command{Use: "rotate", Short: "A planned run: rotate keys older than an age, or one asset's keys", RunE: func(cmd *cobra.Command, _ []string) error {
		if (older == "") == (r.asset == "") {
			return usagef("rotate what? either --older-than or --asset")
		}
		return a.start(cmd.Context(), &r, func(ctx context.Context, e *rotation.Engine) (rotation.Planned, error) {
			if older != "" {
				age, err := keyring.ParseAge(older)
				if err != nil {
					return rotation.Planned{}, usagef("%v", err)
				}
				return e.StartPlanned(ctx, time.Duration(age), rotation.Request{
					Reason: first(r.reason, "older than "+older), AcceptUnproved: r.acceptUnproved, DryRun: r.dryRun,
				})
			}
			s, err := e.Index().Summary(ctx, r.asset)
			if err != nil {
				return rotation.Planned{}, fmt.Errorf("look up asset %s: %w", r.asset, err)
			}
			return e.Start(ctx, rotation.Request{
				Kind: journal.Scheduled, KIDs: s.KIDs, Reason: r.reason, Asset: r.asset,
				AcceptUnproved: r.acceptUnproved, DryRun: r.dryRun,
			})
		})
	}}
	c.Flags().StringVar(&older, "older-than", "", "age such as 90d or 12h")
	r.add(c)
	return c
}
