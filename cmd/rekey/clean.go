//go:build !fipsonly

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) cleanCommand() *cobra.Command {
	return &cobra.Command{Use: "clean ROTATION", Short: "Take back what a rotation wrote of assets that it did not publish", Long: "Takes back what a rotation that was cancelled, or is over, wrote of assets that it did\nnot publish: objects that their plans list under _rekey/, and no others; and\ndeactivates the new keys that nothing is under. No manifest of such an asset can be\nflipped afterwards. An asset whose flips had begun is published to its end instead;\none that failed in them is left alone (listed, exit 4).\n\nIt may be broken off, and done again. Where a worker was killed while it wrote, do it\nagain: it may have left an object behind. On a versioned bucket the older versions of\nwhat is deleted stay.", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		e, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		c, err := e.Clean(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if a.flags.json {
			err = a.printJSON(c)
		} else {
			err = table(a.stdout, "ASSET STATE DELETED NOTE", func(row func(...any)) {
				for _, as := range c.Assets {
					row(as.Asset, as.State, as.Objects, first(as.Reason, "-"))
				}
			})
			if err == nil {
				_, err = fmt.Fprintf(a.stdout, "%d new keys deactivated; where the bucket keeps versions, those of what was deleted stay\n", c.Keys)
			}
		}
		if err == nil && c.Left() {
			err = fmt.Errorf("clean rotation %s: %w", args[0], errPartial)
		}
		return err
	}}
}
