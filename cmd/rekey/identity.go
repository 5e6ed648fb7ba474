package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	var roles, life, out string
	var g access.Grant
	c := &cobra.Command{Use: "grant PERSON", Short: "Make a token; it is shown once", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
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
		return a.identityGrant(cmd.Context(), g, out)
	}}
	f := c.Flags()
	f.StringVar(&roles, "role", "", "operator, approver, auditor, worker or admin; several with commas")
	f.StringVar(&g.Name, "name", "", "what tells the person's tokens apart")
	f.StringVar(&out, "out", "", "new file, mode 0600, that the token goes to (absent: it is printed)")
	f.StringVar(&life, "expires", "", "how long it is good, as 90d (default 90d, at most 366d)")
	return c
}

// granted is the --json shape of identity grant.
type granted struct {
	Identity access.Identity `json:"identity"`
	Token    string          `json:"token,omitempty"` // absent: it is in the file of --out
}

// identityGrant makes the file of the token first: no token is made that cannot be
// kept.
func (a *app) identityGrant(ctx context.Context, g access.Grant, out string) error {
	var got granted
	var err error
	if out == "" {
		got, err = a.newToken(ctx, g)
	} else {
		err = writeWhole(out, func(w io.Writer) error {
			if got, err = a.newToken(ctx, g); err != nil {
				return err
			}
			_, err := fmt.Fprintln(w, got.Token)
			got.Token = ""
			return err
		})
	}
	if err != nil {
		return err
	}
	if a.flags.json {
		return a.printJSON(got)
	}
	where := "in " + out
	if out == "" {
		where = "not shown again"
		_, err = fmt.Fprintln(a.stdout, got.Token)
	}
	if err == nil {
		_, err = fmt.Fprintf(a.stderr, "%s: %s until %s; the token is %s\n", got.Identity, got.Identity.Roles, got.Identity.Expires.Format(time.RFC3339), where)
	}
	return err
}

// newToken makes it, through the server where one is named.
func (a *app) newToken(ctx context.Context, g access.Grant) (granted, error) {
	var got granted
	c, err := a.remote()
	if err != nil {
		return got, err
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
	return got, err
}

// identityLine is the --json shape of an identity.
type identityLine struct {
	access.Identity
	Revoked bool `json:"revoked,omitempty"`
	// Error is why the identity cannot be believed; it then has an id and no more.
	Error string `json:"error,omitempty"`
}

// errUnbelieved: an identity is listed that lets nobody in.
var errUnbelieved = errors.New("identities cannot be believed")

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
					if lerr != nil && !errors.Is(lerr, access.ErrForged) && !errors.Is(lerr, access.ErrCorrupt) {
						return lerr
					}
					l := identityLine{Identity: id, Revoked: id.Revoked}
					if lerr != nil {
						l.Error = lerr.Error()
					}
					all = append(all, l)
				}
			}
		}
		if err != nil {
			return err
		}
		return a.printIdentities(all)
	}}
}

// printIdentities ends in an error where one of them cannot be believed.
func (a *app) printIdentities(all []identityLine) error {
	var bad []string
	for _, l := range all {
		if l.Error != "" {
			bad = append(bad, l.ID+": "+l.Error)
		}
	}
	var err error
	if a.flags.json {
		err = a.printJSON(all)
	} else {
		err = table(a.stdout, "IDENTITY PERSON NAME ROLES EXPIRES REVOKED", func(row func(...any)) {
			for _, l := range all {
				if l.Error != "" {
					row(l.ID, "?", "?", "cannot be believed", "?", l.Revoked)
					continue
				}
				row(l.ID, l.Person, l.Name, l.Roles, l.Expires.Format(time.RFC3339), l.Revoked)
			}
		})
	}
	if err == nil && len(bad) > 0 {
		err = fmt.Errorf("%w: %d of %d: %s", errUnbelieved, len(bad), len(all), strings.Join(bad, "; "))
	}
	return err
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
