//go:build !fipsonly

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) pauseCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "pause ROTATION", Short: "Hold a rotation where it stands, until rekey resume", Long: "Holds a rotation where it stands. Workers and drivers let go of it when they next\nlook, within seconds; nothing of it is worked or published until rekey resume. A\ncommand with --wait that drives it prints how it stands and exits 1 (class paused).", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		e, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		if err := e.Pause(cmd.Context(), args[0], reason); err != nil {
			return err
		}
		if a.flags.json {
			return a.printJSON(map[string]any{"rotation": args[0], "state": "paused"})
		}
		_, err = fmt.Fprintf(a.stdout, "rotation %s is paused; rekey resume %s takes it up\n", args[0], args[0])
		return err
	}}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	return c
}
