package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
)

func (a *app) keysCreateCommand() *cobra.Command {
	var o keyring.CreateOptions
	var name string
	c := &cobra.Command{Use: "create", Short: "Make a new random key and print its KID", RunE: func(cmd *cobra.Command, _ []string) error {
		kid := key.NewKID()
		if name != "" {
			var err error
			if kid, err = key.ParseKID(name); err != nil {
				return usagef("%v", err)
			}
		}
		k, err := a.openKeys(cmd.Context(), nil)
		if err != nil {
			return err
		}
		rec, err := k.ring.Create(cmd.Context(), kid, o)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.printJSON(map[string]any{"kid": rec.KID, "state": rec.State})
		}
		_, err = fmt.Fprintln(a.stdout, rec.KID)
		return err
	}}
	f := c.Flags()
	f.StringVar(&name, "kid", "", "the key's KID (default: a random one)")
	f.StringVar(&o.URI, "uri", "", "the HLS key URI it will be known by")
	f.StringSliceVar(&o.Tags, "tag", nil, "tags of the key, which pick its lifetime")
	f.StringVar(&o.Asset, "asset", "", "the asset it is made for")
	f.StringVar(&o.Scheme, "scheme", "", "what that asset's media is encrypted with")
	return c
}

func (a *app) keysStateCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "state KID STATE", Short: "Move a key to another state", Args: cobra.ExactArgs(2),
		Long: "Moves a key to another state of its life (NIST SP 800-57 part 1 §7). A key that\nhas leaked is for rekey compromise, which also rotates what depends on it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			kid, err := key.ParseKID(args[0])
			if err != nil {
				return usagef("%v", err)
			}
			to := keyring.State(args[1])
			if !slices.Contains(keyring.States(), to) {
				return usagef("no such state: %q; one of %v", args[1], keyring.States())
			}
			if to == keyring.Destroyed {
				return usagef("a key is destroyed by keys destroy")
			}
			if strings.TrimSpace(reason) == "" {
				return usagef("keys state needs --reason")
			}
			k, err := a.openKeys(cmd.Context(), nil)
			if err != nil {
				return err
			}
			return k.ring.SetState(cmd.Context(), kid, to, reason)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	return c
}

func (a *app) keysDestroyCommand() *cobra.Command {
	var reason, request string
	var unscanned bool
	c := &cobra.Command{
		Use: "destroy KID...", Short: "Destroy keys for good; their records stay", Args: cobra.MinimumNArgs(1),
		Long: "Takes the wrapped keys out of their records. Media under them cannot be opened\nby anyone after that. A key is deactivated or compromised first, and a scan that\nbegan after that shows that no asset depends on it. Where roles are in force a\nsecond person has to agree: see rekey serve.",
		RunE: func(cmd *cobra.Command, args []string) error {
			kids, err := parseKIDs(args)
			if err != nil {
				return err
			}
			if strings.TrimSpace(reason) == "" {
				return usagef("keys destroy needs --reason")
			}
			c, err := a.remote()
			if err != nil {
				return err
			}
			if c != nil {
				if unscanned {
					return usagef("--unscanned is not for a server")
				}
				return a.remoteDestroy(cmd.Context(), c, kids, reason, request)
			}
			k, err := a.openKeys(cmd.Context(), nil)
			if err != nil {
				return err
			}
			if err := k.mayAlone(cmd.Context(), "keys destroy"); err != nil {
				return err
			}
			if err := k.destroy(cmd.Context(), kids, unscanned, reason); err != nil {
				return err
			}
			return a.sayLoose(cmd.Context(), k)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	c.Flags().StringVar(&request, "request", "", "the approved request that this carries out")
	c.Flags().BoolVar(&unscanned, "unscanned", false, "destroy though no scan since shows that nothing depends on the keys")
	return c
}

// sayLoose tells of media that no scan looks at: the manifests of it may be made
// elsewhere.
func (a *app) sayLoose(ctx context.Context, k *keyroom) error {
	rec, err := k.index().Scanned(ctx)
	if errors.Is(err, catalog.ErrNotScanned) || err == nil && rec.Loose == 0 {
		return nil
	}
	if err == nil {
		_, err = fmt.Fprintf(a.stderr, "%d media objects that no manifest leads to were not looked at\n", rec.Loose)
	}
	return err
}

// remoteDestroy goes through the server, one key a request.
func (a *app) remoteDestroy(ctx context.Context, c *client, kids []key.KID, reason, request string) error {
	if len(kids) != 1 {
		return usagef("through a server keys are destroyed one by one")
	}
	w := wanted{access.KeysDestroy, access.Subject{KID: kids[0]}, reason}
	if ready, err := a.released(ctx, c, request, w); !ready {
		return err
	}
	return c.call(ctx, "POST", "/api/v1/keys/"+kids[0].String()+"/destroy", request, nil, nil)
}

// destroy refuses while an asset depends on any of the keys, or may: it goes by a
// scan that began after they left use, unless unscanned.
func (k *keyroom) destroy(ctx context.Context, kids []key.KID, unscanned bool, reason string) error {
	for _, kid := range kids {
		rec, err := k.ring.Get(ctx, kid)
		if err != nil {
			return err
		}
		err = k.index().CheckUnused(ctx, kid, rec.LeftUse(time.Now()))
		if errors.Is(err, catalog.ErrNotScanned) && unscanned {
			reason, err = reason+" (without a scan: "+err.Error()+")", nil
		}
		if err != nil {
			return fmt.Errorf("destroy key %s: %w", kid, err)
		}
		id, err := journal.New(k.control).Using(ctx, kid, time.Now())
		if err != nil {
			return err
		}
		if id != "" {
			return fmt.Errorf("destroy key %s: %w: rotation %s is not over", kid, catalog.ErrInUse, id)
		}
	}
	for _, kid := range kids {
		if err := k.ring.Destroy(ctx, kid, reason); err != nil {
			return err
		}
	}
	return nil
}
