package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
)

func (a *app) keysCommand() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Make, import, list, show, export, back up and destroy content keys", RunE: func(*cobra.Command, []string) error { return nil }}
	c.AddCommand(a.keysImportCommand(), a.keysCreateCommand(), a.keysListCommand(), a.keysShowCommand(),
		a.keysStateCommand(), a.keysDestroyCommand(), a.keysExportCommand(),
		a.keysBackupCommand(), a.keysShareCommand(), a.keysRestoreCommand())
	return c
}

// keyLine is the --json shape of a key.
type keyLine struct {
	KID     key.KID       `json:"kid"`
	State   keyring.State `json:"state"`
	URI     string        `json:"uri,omitempty"`
	Assets  int           `json:"assets"`
	Created time.Time     `json:"created"`
	Expires time.Time     `json:"expires,omitzero"`
	Tags    []string      `json:"tags,omitempty"`
	KEK     string        `json:"kek"`
}

func keyLineOf(ctx context.Context, e *keyroom, r keyring.Record) (keyLine, error) {
	l := keyLine{KID: r.KID, State: r.StateAt(time.Now()), URI: r.URI, Created: r.Created, Expires: r.Expires, Tags: r.Tags, KEK: r.KEK}
	for _, err := range e.index().Scope(ctx, r.KID) {
		if errors.Is(err, catalog.ErrNotScanned) {
			break
		}
		if err != nil {
			return l, err
		}
		l.Assets++
	}
	return l, nil
}

func (a *app) keysListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List key records", RunE: func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		e, err := a.openKeys(ctx, nil)
		if err != nil {
			return err
		}
		lines := []keyLine{}
		var bad error
		for r, err := range e.ring.List(ctx) {
			if errors.Is(err, keyring.ErrCorrupt) {
				bad = errors.Join(bad, err)
				continue
			}
			if err != nil {
				return err
			}
			l, err := keyLineOf(ctx, e, r)
			if err != nil {
				return err
			}
			lines = append(lines, l)
		}
		return errors.Join(a.printKeys(lines), bad)
	}}
}

func (a *app) printKeys(lines []keyLine) error {
	if a.flags.json {
		return a.printJSON(lines)
	}
	return table(a.stdout, "KID STATE ASSETS CREATED KEK URI", func(row func(...any)) {
		for _, l := range lines {
			row(l.KID, l.State, l.Assets, l.Created.Format(time.RFC3339), l.KEK, l.URI)
		}
	})
}

func (a *app) keysShowCommand() *cobra.Command {
	return &cobra.Command{Use: "show KID", Short: "Show one key record and its history, never the key", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		kid, err := key.ParseKID(args[0])
		if err != nil {
			return usagef("%v", err)
		}
		e, err := a.openKeys(cmd.Context(), nil)
		if err != nil {
			return err
		}
		r, err := e.ring.Get(cmd.Context(), kid)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.printJSON(r)
		}
		expires := "never"
		if !r.Expires.IsZero() {
			expires = r.Expires.Format(time.RFC3339)
		}
		if _, err := fmt.Fprintf(a.stdout, "%s %s kek %s uri %q rotation %q asset %q scheme %q tags %v expires %s\n",
			r.KID, r.StateAt(time.Now()), r.KEK, r.URI, r.Rotation, r.Asset, r.Scheme, r.Tags, expires); err != nil {
			return err
		}
		return table(a.stdout, "TIME STATE ACTOR REASON", func(row func(...any)) {
			for _, h := range r.History {
				row(h.Time.Format(time.RFC3339), h.State, h.Actor, h.Reason)
			}
		})
	}}
}
