package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/audit"
)

func (a *app) auditExportCommand() *cobra.Command {
	var format, since, until string
	c := &cobra.Command{
		Use: "export", Short: "Print records for a review, as CSV or JSON lines",
		Long: "export prints every record in the order of time, with what the action may serve as\n" +
			"evidence of in a FIPS 140-3, SP 800-57, SP 800-130 or GDPR review. It proves nothing:\n" +
			"run rekey audit verify first. CSV cells that a spreadsheet would take for a formula\n" +
			"begin with an apostrophe.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := parseWhen("since", since)
			if err != nil {
				return err
			}
			to, err := parseWhen("until", until)
			if err != nil {
				return err
			}
			if a.flags.json {
				format = "json"
			}
			return a.auditExport(cmd.Context(), format, from, to)
		},
	}
	c.Flags().StringVar(&format, "format", "csv", "csv or json")
	c.Flags().StringVar(&since, "since", "", "records from this time on (RFC 3339 or 2006-01-02)")
	c.Flags().StringVar(&until, "until", "", "records before this time")
	return c
}

func parseWhen(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--%s %q is no time", flag, s)
}

func (a *app) auditExport(ctx context.Context, format string, from, to time.Time) error {
	var x audit.Exporter
	switch format {
	case "csv":
		x = audit.NewCSV(a.stdout)
	case "json":
		x = audit.NewJSON(a.stdout)
	default:
		return usagef("--format is csv or json, not %q", format)
	}
	control, err := a.openControl(ctx)
	if err != nil {
		return err
	}
	var bad []error
	for e, err := range audit.Entries(ctx, control) {
		if errors.Is(err, audit.ErrCorrupt) {
			bad = append(bad, err) // the others are still wanted
			continue
		}
		if err != nil {
			return err
		}
		if e.Time.Before(from) || !to.IsZero() && !e.Time.Before(to) {
			continue
		}
		if err := x.Write(e); err != nil {
			return err
		}
	}
	return errors.Join(append(bad, x.Flush())...)
}

func (a *app) auditTailCommand() *cobra.Command {
	var n int
	var follow bool
	var every time.Duration
	c := &cobra.Command{
		Use: "tail", Short: "Print the newest records, the newest last",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 0 || every <= 0 {
				return usagef("--lines and --interval must be positive")
			}
			return a.auditTail(cmd.Context(), n, follow, every)
		},
	}
	c.Flags().IntVarP(&n, "lines", "n", 20, "how many")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with those that come, until interrupted")
	c.Flags().DurationVar(&every, "interval", 2*time.Second, "how often --follow looks")
	return c
}

func (a *app) auditTail(ctx context.Context, n int, follow bool, every time.Duration) error {
	control, err := a.openControl(ctx)
	if err != nil {
		return err
	}
	t := audit.NewTail(control, time.Now)
	entries, bad := t.Last(ctx, n)
	if bad != nil && !errors.Is(bad, audit.ErrCorrupt) {
		return bad
	}
	if err := a.printEntries(entries); err != nil || !follow {
		return errors.Join(err, bad)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if bad != nil {
			a.log().Warn("a record does not read", "error", bad)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		entries, bad = t.Next(ctx)
		if err := a.printEntries(entries); err != nil {
			return errors.Join(err, bad)
		}
		if bad != nil && !errors.Is(bad, audit.ErrCorrupt) {
			return bad
		}
	}
}

// printEntries prints records a line each; what they quote of others cannot make
// a line of its own, or reach the terminal.
func (a *app) printEntries(entries []audit.Entry) error {
	for _, e := range entries {
		if a.flags.json {
			if err := a.printJSON(e); err != nil {
				return err
			}
			continue
		}
		line := []string{e.Time.Format(time.RFC3339), e.ID, e.Actor, e.Action, e.Outcome}
		for _, f := range []struct{ name, value string }{
			{"kid", e.KID}, {"rotation", e.Rotation}, {"asset", e.Asset}, {"object", e.Object}, {"role", e.Role},
			{"origin", e.Origin}, {"client", e.Client}, {"request", e.Request}, {"reason", e.Reason},
		} {
			if f.value != "" {
				line = append(line, f.name+"="+quoted(f.value))
			}
		}
		if _, err := fmt.Fprintln(a.stdout, strings.Join(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

func quoted(s string) string {
	if q := fmt.Sprintf("%q", s); strings.Contains(s, " ") || q != `"`+s+`"` {
		return q
	}
	return s
}
