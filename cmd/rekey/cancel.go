//go:build !fipsonly

package main

import (
	"github.com/spf13/cobra"
)

func (a *app) cancelCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "cancel ROTATION", Short: "Give a rotation up; what is published stays", Long: "Gives a rotation up for good. Assets that are published stay so; of the others nothing\nmore is worked or flipped, but for one whose flips had begun. Keys that were marked\ncompromised stay compromised: a new rekey compromise rotates what is left. What was\nwritten of unfinished assets stays until rekey clean. A command with --wait that\ndrives it prints how it stands and exits 1 (class cancelled).", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		if reason == "" {
			return usagef("cancelling a rotation needs a --reason")
		}
		e, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		if err := e.Cancel(cmd.Context(), args[0], reason); err != nil {
			return err
		}
		s, err := e.Status(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return a.printStatus(s)
	}}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record (required)")
	return c
}
