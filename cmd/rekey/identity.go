package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/keyring"
)

func (a *app) identityCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "identity", Short: "Grant, list and revoke the tokens that roles are held by",
		Long: "Tokens are for rekey serve. The first ones are granted where the signing key is at\nhand (--signing-key); after that an admin can do it through --server. From the\nfirst one on, what needs a second person goes through rekey serve alone.\n\n" + access.Table(),
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	c.AddCommand(a.identityGrantCommand(), a.identityListCommand(), a.identityRevokeCommand())
	return c
}

// accessOptions opens the signing key that is given, if one is.
func (a *app) accessOptions(ctx context.Context, k *keyroom) (access.Options, error) {
	o := access.Options{Store: k.control, Log: k.audit, Clock: time.Now}
	file := first(a.flags.signingKey, a.cfg.SigningKey)
	if file == "" {
		return o, usagef("no signing key: --signing-key or signing_key in the config")
	}
	s, err := openSigner(ctx, k.control, file, signerName)
	if err != nil {
		return o, err
	}
	v, err := note.NewVerifier(s.VerifierKey())
	if err != nil {
		return o, fmt.Errorf("read signing key: %w", err)
	}
	o.Signer, o.Verifiers = s, []note.Verifier{v}
	return o, nil
}

// console is the identities, for whoever holds the signing key.
func (a *app) console(ctx context.Context) (*access.Identities, access.Identity, error) {
	k, err := a.openKeys(ctx, nil)
	if err != nil {
		return nil, access.Identity{}, err
	}
	o, err := a.accessOptions(ctx, k)
	if err != nil {
		return nil, access.Identity{}, err
	}
	by, err := access.Console(strings.ReplaceAll(k.actor, "/", "-"))
	return access.NewIdentities(o), by, err
}

func (a *app) identityGrantCommand() *cobra.Command {
	var roles, life string
	var g access.Grant
	c := &cobra.Command{Use: "grant PERSON", Short: "Make a token; it is printed once", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		var err error
		g.Person = args[0]
		if g.Roles, err = access.ParseRole(roles); err != nil {
			return usagef("--role: %v", err)
		}
		if life != "" {
			d, err := keyring.ParseAge(life)
			if err != nil {
				return usagef("--expires: %v", err)
			}
			g.Expires = time.Now().Add(time.Duration(d)).UTC()
		}
		return a.identityGrant(cmd.Context(), g)
	}}
	f := c.Flags()
	f.StringVar(&roles, "role", "", "operator, approver, auditor, worker or admin; several with commas")
	f.StringVar(&g.Name, "name", "", "what tells the person's tokens apart")
	f.StringVar(&life, "expires", "", "how long it is good, as 90d (default 90d, at most 366d)")
	return c
}

func (a *app) identityGrant(ctx context.Context, g access.Grant) error {
	c, err := a.remote()
	if err != nil {
		return err
	}
	var got struct {
		Identity access.Identity `json:"identity"`
		Token    string          `json:"token"`
	}
	if c != nil {
		in := map[string]any{"person": g.Person, "name": g.Name, "roles": g.Roles}
		if !g.Expires.IsZero() {
			in["expires"] = g.Expires
		}
		err = c.call(ctx, "POST", "/api/v1/identities", "", in, &got)
	} else {
		var ids *access.Identities
		var by access.Identity
		if ids, by, err = a.console(ctx); err == nil {
			var t access.Token
			if t, got.Identity, err = ids.Grant(ctx, by, g); err == nil {
				got.Token = t.RevealSecretText()
			}
		}
	}
	if err != nil {
		return err
	}
	if a.flags.json {
		return a.printJSON(got)
	}
	_, err = fmt.Fprintln(a.stdout, got.Token)
	if err == nil {
		_, err = fmt.Fprintf(a.stderr, "%s: %s until %s; the token is not shown again\n", got.Identity, got.Identity.Roles, got.Identity.Expires.Format(time.RFC3339))
	}
	return err
}

// identityLine is the --json shape of an identity.
type identityLine struct {
	access.Identity
	Revoked bool `json:"revoked,omitempty"`
}

func (a *app) identityListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List who holds which roles", RunE: func(cmd *cobra.Command, _ []string) error {
		all := []identityLine{}
		c, err := a.remote()
		if err == nil && c != nil {
			err = c.call(cmd.Context(), "GET", "/api/v1/identities", "", nil, &all)
		} else if err == nil {
			var ids *access.Identities
			if ids, _, err = a.console(cmd.Context()); err == nil {
				for id, lerr := range ids.List(cmd.Context()) {
					if lerr != nil {
						return lerr
					}
					all = append(all, identityLine{id, id.Revoked})
				}
			}
		}
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.printJSON(all)
		}
		return table(a.stdout, "IDENTITY PERSON NAME ROLES EXPIRES REVOKED", func(row func(...any)) {
			for _, l := range all {
				row(l.ID, l.Person, l.Name, l.Roles, l.Expires.Format(time.RFC3339), l.Revoked)
			}
		})
	}}
}

func (a *app) identityRevokeCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "revoke IDENTITY", Short: "End a token for good", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := a.remote()
		if err != nil {
			return err
		}
		if c != nil {
			return c.call(cmd.Context(), "POST", "/api/v1/identities/"+args[0]+"/revoke", "", map[string]string{"reason": reason}, nil)
		}
		ids, by, err := a.console(cmd.Context())
		if err != nil {
			return err
		}
		return ids.Revoke(cmd.Context(), by, args[0], reason)
	}}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	return c
}
