package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/access"
)

// approvalCommands are what approvers use. All go through rekey serve, which has
// the key that approvals are signed with.
func (a *app) approvalCommands() []*cobra.Command {
	list := &cobra.Command{Use: "requests [REQUEST]", Short: "List what waits for the approval of a second person", Args: cobra.MaximumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.need("requests")
		if err != nil {
			return err
		}
		all := []access.Status{}
		if len(args) == 1 {
			all = append(all, access.Status{})
			err = c.call(cmd.Context(), "GET", "/api/v1/requests/"+args[0], "", nil, &all[0])
		} else {
			err = c.call(cmd.Context(), "GET", "/api/v1/requests", "", nil, &all)
		}
		if err != nil {
			return err
		}
		return a.printRequests(all)
	}}
	approve := &cobra.Command{Use: "approve REQUEST", Short: "Release what another person asked for", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.need("approve")
		if err != nil {
			return err
		}
		var d access.Approval
		if err := c.call(cmd.Context(), "POST", "/api/v1/requests/"+args[0]+"/grant", "", nil, &d); err != nil {
			return err
		}
		if a.flags.json {
			return a.printJSON(d)
		}
		_, err = fmt.Fprintf(a.stdout, "%s of %s for %s, good until %s\n", d.Request.Action, d.Request.Subject, d.Request.Requester.Person, d.Expires.Format(time.RFC3339))
		return err
	}}
	var reason string
	refuse := &cobra.Command{Use: "refuse REQUEST", Short: "Refuse what another person asked for, or withdraw what you did", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		if strings.TrimSpace(reason) == "" {
			return usagef("refuse needs --reason")
		}
		c, err := a.need("refuse")
		if err != nil {
			return err
		}
		return c.call(cmd.Context(), "POST", "/api/v1/requests/"+args[0]+"/refuse", "", map[string]string{"reason": reason}, nil)
	}}
	refuse.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	return []*cobra.Command{list, approve, refuse}
}

func (a *app) printRequests(all []access.Status) error {
	if a.flags.json {
		return a.printJSON(all)
	}
	return table(a.stdout, "REQUEST ACTION SUBJECT BY STANDING REASON", func(row func(...any)) {
		for _, s := range all {
			row(s.Request.ID, s.Request.Action, s.Request.Subject, s.Request.Requester.Person, s.Standing, s.Request.Reason)
		}
	})
}
