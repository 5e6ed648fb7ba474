package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/seed-6133abe0/rekey/rotation"
)

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints rows under a head, in columns.
func table(w io.Writer, head string, rows func(row func(cells ...any))) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(tw, strings.ReplaceAll(head, " ", "\t")); err != nil {
		return err
	}
	rows(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				_, _ = fmt.Fprint(tw, "\t")
			}
			_, _ = fmt.Fprint(tw, c)
		}
		_, _ = fmt.Fprintln(tw)
	})
	return tw.Flush()
}

// size prints bytes as people read them.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/unit, 0
	for v >= unit && i < 4 {
		v, i = v/unit, i+1
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTP"[i])
}

// printStatus is the table of a rotation: a row for each changed key of each
// track, and a line for each asset that was not rotated.
func (a *app) printStatus(s rotation.Status) error {
	if a.flags.json {
		return a.printJSON(s)
	}
	_, err := fmt.Fprintf(a.stdout, "rotation %s: %s, %d of %d parts done\n", s.Rotation, s.State, s.PartsDone, s.Parts)
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
