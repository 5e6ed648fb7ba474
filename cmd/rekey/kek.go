package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
)

func (a *app) kekCommand() *cobra.Command {
	c := &cobra.Command{Use: "kek", Short: "List, make, rotate, disable and enable the KEKs that content keys are wrapped under", RunE: func(*cobra.Command, []string) error { return nil }}
	c.AddCommand(a.kekListCommand(), a.kekCreateCommand(), a.kekRotateCommand(),
		a.kekDisableCommand(), a.kekEnableCommand(), a.kekDestroyCommand())
	return c
}

// kekLine is the --json shape of a KEK.
type kekLine struct {
	kms.Description
	Keys    int    `json:"keys"` // keys and secrets that are under it
	Current bool   `json:"current"`
	Error   string `json:"error,omitempty"`
}

func (a *app) kekListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the KEKs that keys are or were wrapped under", RunE: func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		k, err := a.openKeys(ctx, nil)
		if err != nil {
			return err
		}
		choices, err := k.ring.KEKs(ctx)
		if err != nil {
			return err
		}
		lines := []kekLine{}
		for i, c := range choices {
			if slices.ContainsFunc(choices[:i], func(o keyring.Choice) bool { return o.KEK == c.KEK }) {
				continue
			}
			l := kekLine{Current: c.KEK == choices[len(choices)-1].KEK}
			if l.Description, err = k.kms.Describe(ctx, c.KEK); err != nil {
				l.KEK, l.Error = c.KEK, err.Error()
			}
			if l.Keys, err = k.ring.UnderKEK(ctx, c.KEK); err != nil {
				return err
			}
			lines = append(lines, l)
		}
		return a.printKEKs(lines)
	}}
}

func (a *app) printKEKs(lines []kekLine) error {
	if a.flags.json {
		return a.printJSON(lines)
	}
	return table(a.stdout, "KEK STATE KEYS CURRENT DESTROYS", func(row func(...any)) {
		for _, l := range lines {
			state, destroys := string(l.State), "-"
			if l.Error != "" {
				state = l.Error
			}
			if !l.Destroys.IsZero() {
				destroys = l.Destroys.Format(time.RFC3339)
			}
			row(l.KEK, state, l.Keys, l.Current, destroys)
		}
	})
}

func (a *app) kekCreateCommand() *cobra.Command {
	var provider, reason string
	c := &cobra.Command{Use: "create NAME", Short: "Make a new KEK; nothing is wrapped under it until kek rotate", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		k, err := a.openKeys(ctx, nil)
		if err != nil {
			return err
		}
		kek, err := k.createKEK(ctx, provider, args[0], reason)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.printJSON(map[string]string{"kek": kek})
		}
		_, err = fmt.Fprintln(a.stdout, kek)
		return err
	}}
	c.Flags().StringVar(&provider, "provider", "", "local, aws-kms, gcp-kms, vault or pkcs11 (default: that of the KEK in use)")
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	return c
}

// createKEK makes a KEK with a provider, or with that of the KEK in use.
func (k *keyroom) createKEK(ctx context.Context, provider, name, reason string) (string, error) {
	if provider == "" {
		now, err := k.ring.KEK(ctx)
		if err != nil {
			return "", err
		}
		provider = kms.Scheme(now)
	}
	e := audit.Record{Action: audit.KEKCreate, Object: provider + " " + name, Outcome: audit.Allowed, Reason: reason}
	if err := k.audit.Append(ctx, e); err != nil {
		return "", err
	}
	kek, err := k.kms.Create(ctx, provider, name)
	if err != nil {
		e.Outcome, e.Reason = audit.Failed, err.Error()
		return "", fmt.Errorf("create KEK: %w", joinRecord(err, k.audit.Append(ctx, e)))
	}
	e.Object, e.Outcome = kek, "done"
	return kek, k.audit.Append(ctx, e)
}

// joinRecord is an error, and that it is not on record where that failed.
func joinRecord(err, unrecorded error) error {
	if unrecorded != nil {
		return fmt.Errorf("%w (and this is not on record: %w)", err, unrecorded)
	}
	return err
}

func (a *app) kekRotateCommand() *cobra.Command {
	var to, create, provider, reason string
	var keep bool
	c := &cobra.Command{Use: "rotate", Short: "Wrap every key under another KEK, then disable the old one",
		Long: "Wraps every content key and secret under another KEK, opens each again and\ncompares, and then disables the KEKs that nothing is under any more. A run that\nwas broken off goes on when it is started again. If wrapped keys may have\nleaked along with the KEK, this is not enough: their media has to be rotated too.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (to == "") == (create == "") {
				return usagef("kek rotate needs --to or --create, and not both")
			}
			return a.kekRotate(cmd.Context(), to, create, provider, reason, keep)
		}}
	f := c.Flags()
	f.StringVar(&to, "to", "", "the id of the KEK to wrap under; the one in use finishes a run that was broken off")
	f.StringVar(&create, "create", "", "make a KEK of this name and wrap under it")
	f.StringVar(&provider, "provider", "", "with --create: local, aws-kms, gcp-kms, vault or pkcs11 (default: that of the KEK in use)")
	f.StringVar(&reason, "reason", "", "why, for the audit record")
	f.BoolVar(&keep, "keep-enabled", false, "leave the old KEKs enabled")
	return c
}

// kekRotated is the --json shape of kek rotate.
type kekRotated struct {
	keyring.Rewrapped
	Disabled []string `json:"disabled"`
}

func (a *app) kekRotate(ctx context.Context, to, create, provider, reason string, keep bool) error {
	k, err := a.openKeys(ctx, nil)
	if err != nil {
		return err
	}
	if create != "" {
		if to, err = k.createKEK(ctx, provider, create, reason); err != nil {
			return err
		}
	}
	if err := k.ring.UseKEK(ctx, to, reason); err != nil {
		return err
	}
	out := kekRotated{Disabled: []string{}}
	if out.Rewrapped, err = k.ring.RewrapAll(ctx, reason, nil); err != nil {
		return err
	}
	if !keep {
		if out.Disabled, err = k.disableOthers(ctx, to, reason); err != nil {
			return err
		}
	}
	if a.flags.json {
		return a.printJSON(out)
	}
	_, err = fmt.Fprintf(a.stdout, "%d keys and %d secrets are under %s, %d of them moved\n", out.Keys, out.Secrets, out.KEK, out.Moved)
	for _, kek := range out.Disabled {
		if err == nil {
			_, err = fmt.Fprintf(a.stdout, "disabled %s\n", kek)
		}
	}
	return err
}

// disableOthers switches off the KEKs that were in use before.
func (k *keyroom) disableOthers(ctx context.Context, now, reason string) ([]string, error) {
	choices, err := k.ring.KEKs(ctx)
	if err != nil {
		return nil, err
	}
	off := []string{}
	for _, c := range choices {
		if c.KEK == now || slices.Contains(off, c.KEK) {
			continue
		}
		d, err := k.kms.Describe(ctx, c.KEK)
		if err != nil {
			return off, fmt.Errorf("look at old KEK: %w", err)
		}
		if d.State != kms.KEKEnabled {
			continue
		}
		if err := k.ring.DisableKEK(ctx, k.kms, c.KEK, reason); err != nil {
			return off, err
		}
		off = append(off, c.KEK)
	}
	return off, nil
}

func (a *app) kekDisableCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "disable KEK", Short: "Switch a KEK off that nothing is wrapped under", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		k, err := a.openKeys(cmd.Context(), nil)
		if err != nil {
			return err
		}
		return k.ring.DisableKEK(cmd.Context(), k.kms, args[0], reason)
	}}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	return c
}

func (a *app) kekEnableCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "enable KEK", Short: "Switch a KEK on again, and call back its destruction", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		k, err := a.openKeys(ctx, nil)
		if err != nil {
			return err
		}
		e := audit.Record{Action: audit.KEKEnable, Object: args[0], Outcome: audit.Allowed, Reason: reason}
		if err := k.audit.Append(ctx, e); err != nil {
			return err
		}
		if err := k.kms.Enable(ctx, args[0]); err != nil {
			e.Outcome, e.Reason = audit.Failed, err.Error()
			return joinRecord(err, k.audit.Append(ctx, e))
		}
		return nil
	}}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	return c
}

func (a *app) kekDestroyCommand() *cobra.Command {
	var reason, request string
	c := &cobra.Command{
		Use: "destroy KEK", Short: "Schedule the end of a KEK that nothing is wrapped under", Args: cobra.ExactArgs(1),
		Long: "Switches the KEK off at once and has its provider destroy it after its delay, until\nwhen kek enable calls it back. Where roles are in force a second person has to\nagree: see rekey serve.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usagef("kek destroy needs --reason")
			}
			return a.kekDestroy(cmd.Context(), args[0], reason, request)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	c.Flags().StringVar(&request, "request", "", "the approved request that this carries out")
	return c
}

func (a *app) kekDestroy(ctx context.Context, kek, reason, request string) error {
	c, err := a.remote()
	if err != nil {
		return err
	}
	if c != nil {
		w := wanted{access.KEKDestroy, access.Subject{KEK: kek}, reason}
		if ready, err := a.released(ctx, c, request, w); !ready {
			return err
		}
		return c.call(ctx, "POST", "/api/v1/keks/destroy?kek="+url.QueryEscape(kek), request, nil, nil)
	}
	k, err := a.openKeys(ctx, nil)
	if err != nil {
		return err
	}
	if err := k.mayAlone(ctx, "kek destroy"); err != nil {
		return err
	}
	due, err := k.ring.DestroyKEK(ctx, k.kms, kek, reason)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s is off, and destroyed at %s\n", kek, due.Format(time.RFC3339))
	return err
}
