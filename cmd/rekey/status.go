//go:build !fipsonly

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/rotation"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{Use: "status [ROTATION]", Short: "Show how rotations stand", Args: cobra.MaximumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		e, err := a.open(ctx)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			s, err := e.Status(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printStatus(s)
		}
		var all []rotation.Status
		for id, err := range e.Journal().Rotations(ctx) {
			if err != nil {
				return err
			}
			s, err := e.Status(ctx, id)
			if err != nil {
				return err
			}
			all = append(all, s)
		}
		return a.printRotations(all)
	}}
}

func (a *app) printRotations(all []rotation.Status) error {
	if a.flags.json {
		for _, s := range all {
			if err := a.printJSON(s); err != nil {
				return err
			}
		}
		return nil
	}
	return table(a.stdout, "ROTATION KIND STATE ASSETS PARTS REASON", func(row func(...any)) {
		for _, s := range all {
			row(s.Rotation, s.Kind, s.State, len(s.Assets), s.PartsDone, s.Reason)
		}
	})
}

// printStatus is the table of a rotation: a row for each changed key of each
// track, and a line for each asset that was not rotated.
func (a *app) printStatus(s rotation.Status) error {
	if a.flags.json {
		return a.printJSON(s)
	}
	_, err := fmt.Fprintf(a.stdout, "rotation %s: %s, %d of %d parts done\n", s.Rotation, s.State, s.PartsDone, s.Parts)
	if h := s.Halt; err == nil && h != nil {
		_, err = fmt.Fprintf(a.stdout, "%s by %s at %s: %s\n", s.State, h.Actor, h.Time.Format(time.RFC3339), first(h.Reason, "no reason given"))
	}
	if err != nil {
		return err
	}
	return a.printAssets(s.Assets)
}

func (a *app) printAssets(assets []rotation.AssetStatus) error {
	err := table(a.stdout, "ASSET TRACK OLD_KID NEW_KID OBJECTS SIZE STATE", func(row func(...any)) {
		for _, as := range assets {
			for _, t := range as.Tracks {
				row(as.Asset, strings.TrimPrefix(t.Track, as.Asset+"/"), t.OldKID, t.NewKID, t.Objects, size(t.Bytes), as.State)
			}
			if len(as.Tracks) == 0 {
				row(as.Asset, "-", "-", "-", "-", "-", as.State)
			}
		}
	})
	if err != nil {
		return err
	}
	for _, as := range assets {
		if as.Reason != "" {
			if _, err := fmt.Fprintf(a.stdout, "%s %s: %s: %s\n", as.Asset, as.State, as.Object, as.Reason); err != nil {
				return err
			}
		}
		for _, f := range as.Findings {
			if _, err := fmt.Fprintf(a.stdout, "%s finding: %s\n", as.Asset, f); err != nil {
				return err
			}
		}
	}
	return nil
}
