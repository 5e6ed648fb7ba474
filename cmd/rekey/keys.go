package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
)

func (a *app) keysCommand() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Import, list, show and export content keys", RunE: func(*cobra.Command, []string) error { return nil }}
	c.AddCommand(a.keysImportCommand(), a.keysListCommand(), a.keysShowCommand(), a.keysExportCommand())
	return c
}

func (a *app) keysImportCommand() *cobra.Command {
	var weak bool
	c := &cobra.Command{
		Use: "import FILE|-", Short: "Take keys: lines KID:KEY or KID:KEY URI, or a JWK set", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.keysImport(cmd.Context(), args[0], weak) },
	}
	c.Flags().BoolVar(&weak, "allow-weak", false, "take known-weak values too, so that media under them can be rekeyed")
	return c
}

func (a *app) keysImport(ctx context.Context, name string, weak bool) error {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return usagef("open keys: %v", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	entries, err := keyring.ParseImport(in)
	if err != nil {
		return err
	}
	e, err := a.openKeys(ctx, nil)
	if err != nil {
		return err
	}
	created := 0
	for _, k := range entries {
		isNew, err := e.ring.Import(ctx, k.KID, k.Key, keyring.ImportOptions{URI: k.URI, AllowWeak: weak})
		if err != nil {
			return err
		}
		if isNew {
			created++
		}
	}
	if a.flags.json {
		return a.printJSON(map[string]int{"read": len(entries), "created": created})
	}
	_, err = fmt.Fprintf(a.stdout, "%d keys read, %d new\n", len(entries), created)
	return err
}

// keyLine is the --json shape of a key.
type keyLine struct {
	KID     key.KID       `json:"kid"`
	State   keyring.State `json:"state"`
	URI     string        `json:"uri,omitempty"`
	Assets  int           `json:"assets"`
	Created time.Time     `json:"created"`
	KEK     string        `json:"kek"`
}

func keyLineOf(ctx context.Context, e *keyroom, r keyring.Record) (keyLine, error) {
	l := keyLine{KID: r.KID, State: r.State, URI: r.URI, Created: r.Created, KEK: r.KEK}
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
		if _, err := fmt.Fprintf(a.stdout, "%s %s kek %s uri %q rotation %q\n", r.KID, r.State, r.KEK, r.URI, r.Rotation); err != nil {
			return err
		}
		return table(a.stdout, "TIME STATE ACTOR REASON", func(row func(...any)) {
			for _, h := range r.History {
				row(h.Time.Format(time.RFC3339), h.State, h.Actor, h.Reason)
			}
		})
	}}
}

func (a *app) keysExportCommand() *cobra.Command {
	var reveal bool
	var reason string
	c := &cobra.Command{Use: "export KID", Short: "Print one key as KID:KEY", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		kid, err := key.ParseKID(args[0])
		if err != nil {
			return usagef("%v", err)
		}
		if !reveal || reason == "" {
			return usagef("export shows a key in the clear: it needs --reveal and --reason")
		}
		return a.keysExport(cmd.Context(), kid, reason)
	}}
	c.Flags().BoolVar(&reveal, "reveal", false, "yes, print the key in the clear")
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	return c
}

func (a *app) keysExport(ctx context.Context, kid key.KID, reason string) error {
	e, err := a.openKeys(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.audit.Append(ctx, audit.Record{Action: audit.KeyExport, KID: kid.String(), Outcome: "requested", Reason: reason}); err != nil {
		return err
	}
	k, err := e.ring.Unwrap(ctx, kid, keyring.Export, "")
	if err != nil {
		return err
	}
	raw := k.RevealSecretBytes()
	_, err = io.WriteString(a.stdout, kid.String()+":"+hex.EncodeToString(raw[:])+"\n")
	clear(raw[:])
	return err
}
