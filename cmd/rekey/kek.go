package main

import (
	"context"
	"errors"
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
			if l.Held != "" {
				destroys += ", held by " + l.Held
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
		return a.printMade(ctx, k, kek)
	}}
	c.Flags().StringVar(&provider, "provider", "", "local, aws-kms, gcp-kms, vault or pkcs11 (default: that of the KEK in use)")
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	return c
}

// printMade says which KEK was made, and to a person where.
func (a *app) printMade(ctx context.Context, k *keyroom, kek string) error {
	var d kms.Description
	if kms.Scheme(kek) == kms.LocalScheme {
		var err error
		if d, err = k.kms.Describe(ctx, kek); err != nil {
			return err
		}
	}
	if a.flags.json {
		line := map[string]string{"kek": kek}
		if d.File != "" {
			line["file"] = d.File
		}
		return a.printJSON(line)
	}
	_, err := fmt.Fprintln(a.stdout, kek)
	if err == nil && d.File != "" {
		_, err = fmt.Fprintln(a.stderr, whereMade(d))
	}
	return err
}

// whereMade says where a local KEK's master key is.
func whereMade(d kms.Description) string {
	return fmt.Sprintf("its master key is %s: back it up with the folder that it is in", d.File)
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
		if is, nameErr := k.ring.KEKNamed(ctx, provider, name); errors.Is(err, kms.ErrExists) && nameErr == nil {
			err = fmt.Errorf("%w: it was made for this library: kek rotate --to %s", err, is)
		}
		e.Outcome, e.Reason = audit.Failed, err.Error()
		return "", fmt.Errorf("create KEK: %w", joinRecord(err, k.audit.Append(ctx, e)))
	}
	e.Object, e.Outcome = kek, "done"
	return kek, errors.Join(k.ring.NameKEK(context.WithoutCancel(ctx), name, kek), k.audit.Append(ctx, e))
}

// joinRecord is an error, and that it is not on record where that failed.
func joinRecord(err, unrecorded error) error {
	if unrecorded != nil {
		return fmt.Errorf("%w (and this is not on record: %w)", err, unrecorded)
	}
	return err
}

func (a *app) kekDisableCommand() *cobra.Command {
	var reason string
	var without bool
	c := &cobra.Command{Use: "disable KEK", Short: "Switch a KEK off that nothing is wrapped under", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		if strings.TrimSpace(reason) == "" {
			return usagef("kek disable needs --reason")
		}
		ctx := cmd.Context()
		k, err := a.openKeys(ctx, nil)
		if err != nil {
			return err
		}
		left, err := k.left(ctx, without, args[0])
		if err != nil {
			return err
		}
		if err := k.going(without).DisableKEK(ctx, k.kms, args[0], reason); err != nil {
			return err
		}
		if a.flags.json {
			return a.printJSON(map[string]any{"kek": args[0], "left": left})
		}
		return a.printOff("disabled "+a.lookedAt(args[0]), left)
	}}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	addWithout(c, &without)
	return c
}

func (a *app) kekEnableCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "enable KEK", Short: "Switch a KEK on again, and call back its destruction", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		if strings.TrimSpace(reason) == "" {
			return usagef("kek enable needs --reason")
		}
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

// left names what cannot be read and will be left.
func (k *keyroom) left(ctx context.Context, without bool, kek string) ([]string, error) {
	if !without {
		return []string{}, nil
	}
	return k.ring.Unreadable(ctx, kek)
}

func (a *app) printOff(line string, left []string) error {
	for _, name := range left {
		line += "\nleft, since it cannot be read: " + name
	}
	_, err := fmt.Fprintln(a.stdout, line)
	return err
}

func (a *app) kekDestroyCommand() *cobra.Command {
	var reason, request string
	var without bool
	c := &cobra.Command{
		Use: "destroy KEK", Short: "Schedule the end of a KEK that nothing is wrapped under", Args: cobra.ExactArgs(1),
		Long: "Switches the KEK off at once and has its provider destroy it after its delay, until\nwhen kek enable calls it back. Where roles are in force a second person has to\nagree: see rekey serve.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usagef("kek destroy needs --reason")
			}
			return a.kekDestroy(cmd.Context(), args[0], reason, request, without)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit record")
	c.Flags().StringVar(&request, "request", "", "the approved request that this carries out")
	addWithout(c, &without)
	return c
}

func (a *app) kekDestroy(ctx context.Context, kek, reason, request string, without bool) error {
	c, err := a.remote()
	if err != nil {
		return err
	}
	if c != nil {
		if without {
			return usagef("kek destroy --without-unreadable is not for a server: an approval is for a KEK that nothing is under")
		}
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
	left, err := k.left(ctx, without, kek)
	if err != nil {
		return err
	}
	due, err := k.going(without).DestroyKEK(ctx, k.kms, kek, reason)
	if err != nil {
		return err
	}
	return a.printOff(fmt.Sprintf("%s is off, and destroyed at %s", a.lookedAt(kek), due.Format(time.RFC3339)), left)
}
