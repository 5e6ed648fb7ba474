//go:build !fipsonly

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) resumeCommand() *cobra.Command {
	var wait bool
	c := &cobra.Command{Use: "resume ROTATION", Short: "Take up a paused rotation, and queue again what has no part record", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if !wait && a.cfg.Redis == "" {
			return usagef("nobody would do the work: give --redis for workers elsewhere, or --wait to work here")
		}
		e, err := a.open(ctx)
		if err != nil {
			return err
		}
		if err := e.Resume(ctx, args[0]); err != nil {
			return err
		}
		if wait {
			return a.drive(ctx, e, args[0])
		}
		_, stop, err := a.attachQueue(ctx, e)
		if err != nil {
			return err
		}
		n, err := e.Requeue(ctx, args[0])
		if cerr := stop(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.printJSON(map[string]any{"rotation": args[0], "queued": n})
		}
		_, err = fmt.Fprintf(a.stdout, "%d parts queued\n", n)
		return err
	}}
	c.Flags().BoolVar(&wait, "wait", false, "drive the rotation to its end here (without --redis with workers in this process)")
	return c
}
