package main

import (
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
