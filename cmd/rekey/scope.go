//go:build !fipsonly

package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/rotation"
)

// keyFlags name the keys that a command is about.
type keyFlags struct{ kids, uris, keks []string }

func (k *keyFlags) add(c *cobra.Command) {
	c.Flags().StringSliceVar(&k.kids, "kid", nil, "key ID, 32 hex digits, dashes allowed; may be repeated")
	c.Flags().StringArrayVar(&k.uris, "key-uri", nil, "HLS key URI, absolute or relative to the media root; may be repeated")
	c.Flags().StringArrayVar(&k.keks, "kek", nil, "id of a KEK: all keys that are or were wrapped under it; may be repeated")
}

// parse reads the flags; the KIDs behind key URIs are the keyring's to know.
func (k *keyFlags) parse() ([]key.KID, error) {
	var out []key.KID
	for _, s := range k.kids {
		kid, err := key.ParseKID(s)
		if err != nil {
			return nil, usagef("%v", err)
		}
		out = append(out, kid)
	}
	if len(out)+len(k.uris)+len(k.keks) == 0 {
		return nil, usagef("which key? --kid, --key-uri or --kek")
	}
	return out, nil
}

// resolve is parse with the KIDs of the key URIs.
func (k *keyFlags) resolve(ctx context.Context, e *rotation.Engine) ([]key.KID, error) {
	out, err := k.parse()
	if err != nil {
		return nil, err
	}
	if out, err = k.underKEKs(ctx, e, out); err != nil {
		return nil, err
	}
	for _, u := range k.uris {
		kids, err := e.KIDsOfURI(ctx, u)
		if err != nil {
			return nil, err
		}
		for _, kid := range kids {
			if !slices.Contains(out, kid) {
				out = append(out, kid)
			}
		}
	}
	return out, nil
}

// underKEKs adds the keys of the KEKs that are named; one that none is under is an
// error, since a mistyped id would look like an answer.
func (k *keyFlags) underKEKs(ctx context.Context, e *rotation.Engine, out []key.KID) ([]key.KID, error) {
	for _, kek := range k.keks {
		n := 0
		for rec, err := range e.Ring.List(ctx) {
			if err != nil {
				return nil, err
			}
			if !rec.UnderKEK(kek) || rec.State == keyring.Destroyed {
				continue
			}
			n++
			if !slices.Contains(out, rec.KID) {
				out = append(out, rec.KID)
			}
		}
		if n == 0 {
			return nil, fmt.Errorf("no key is or was under KEK %s: %w", kek, rotation.ErrNothing)
		}
	}
	return out, nil
}

func (a *app) scopeCommand() *cobra.Command {
	var keys keyFlags
	c := &cobra.Command{Use: "scope", Short: "Say who depends on a key: assets, objects, bytes", RunE: func(cmd *cobra.Command, _ []string) error {
		if _, err := keys.parse(); err != nil {
			return err
		}
		e, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		kids, err := keys.resolve(cmd.Context(), e)
		if err != nil {
			return err
		}
		return a.scope(cmd.Context(), e, kids)
	}}
	keys.add(c)
	return c
}

func (a *app) scope(ctx context.Context, e *rotation.Engine, kids []key.KID) error {
	var entries []catalog.Entry
	found := false
	for _, kid := range kids {
		for entry, err := range e.Index().Scope(ctx, kid) {
			if err != nil {
				return err
			}
			found = true
			if !a.flags.json {
				entries = append(entries, entry)
				continue
			}
			if err := a.printJSON(entry); err != nil {
				return err
			}
		}
	}
	if !found {
		return e.Nothing(ctx)
	}
	if a.flags.json {
		return nil
	}
	err := table(a.stdout, "ASSET TRACKS OBJECTS SIZE", func(row func(...any)) {
		for _, x := range entries {
			row(x.Asset, x.Tracks, x.Objects, size(x.Bytes))
		}
	})
	for _, x := range entries {
		if x.Unsupported != "" && err == nil {
			_, err = fmt.Fprintf(a.stdout, "%s cannot be rekeyed: %s\n", x.Asset, x.Unsupported)
		}
	}
	return err
}
