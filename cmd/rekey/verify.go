//go:build !fipsonly

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{Use: "verify MANIFEST|ASSET...", Short: "Decrypt and check everything a manifest or asset leads to", Args: cobra.MinimumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		e, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		bad := false
		for _, name := range args {
			rep, err := e.Verify(cmd.Context(), name)
			if err != nil {
				return err
			}
			bad = bad || len(rep.Problems) > 0
			if a.flags.json {
				if err := a.printJSON(rep); err != nil {
					return err
				}
				continue
			}
			if _, err := fmt.Fprintf(a.stdout, "%s: %d objects, %s, %d equal to what the rotation read, %d tracks prove their key, %d undecided, %d problems\n",
				rep.Asset, rep.Objects, size(rep.Bytes), rep.Equal, rep.Right, rep.Undecided, len(rep.Problems)); err != nil {
				return err
			}
			for _, p := range rep.Problems {
				if _, err := fmt.Fprintf(a.stdout, "  %s: %s\n", p.Object, p.Reason); err != nil {
					return err
				}
			}
		}
		if bad {
			return errBad
		}
		return nil
	}}
}
