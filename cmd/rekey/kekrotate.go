package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
)

// rotateFlags say how a KEK is rotated.
type rotateFlags struct {
	to, create, provider, reason string
	keep, without                bool
}

func (a *app) kekRotateCommand() *cobra.Command {
	var o rotateFlags
	c := &cobra.Command{Use: "rotate", Short: "Wrap every key under another KEK, then disable the old one",
		Long: "Wraps every content key and secret under another KEK, opens each again and\ncompares, and then disables the KEKs that nothing is under any more. A run that\nwas broken off goes on when it is started again. If wrapped keys may have\nleaked along with the KEK, this is not enough: their media has to be rotated too.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (o.to == "") == (o.create == "") {
				return usagef("kek rotate needs --to or --create, and not both")
			}
			if strings.TrimSpace(o.reason) == "" {
				return usagef("kek rotate needs --reason")
			}
			return a.kekRotate(cmd.Context(), o)
		}}
	f := c.Flags()
	f.StringVar(&o.to, "to", "", "the id of the KEK to wrap under; the one in use finishes a run that was broken off")
	f.StringVar(&o.create, "create", "", "make a KEK of this name and wrap under it; again, it goes on with that one")
	f.StringVar(&o.provider, "provider", "", "with --create: local, aws-kms, gcp-kms, vault or pkcs11 (default: that of the KEK in use)")
	f.StringVar(&o.reason, "reason", "", "why, for the audit record")
	f.BoolVar(&o.keep, "keep-enabled", false, "leave the old KEKs enabled")
	addWithout(c, &o.without)
	return c
}

func addWithout(c *cobra.Command, without *bool) {
	c.Flags().BoolVar(without, "without-unreadable", false, "go on without records that do not read or open, which may be lost for good with the KEK; they are listed, and on the audit record")
}

// going is the ring of a command that may go on without what cannot be read.
func (k *keyroom) going(without bool) *keyring.Ring {
	if without {
		return k.ring.WithoutUnreadable()
	}
	return k.ring
}

// kekRotated is the --json shape of kek rotate.
type kekRotated struct {
	keyring.Rewrapped
	Disabled []string `json:"disabled"`
	Unknown  []string `json:"unknown,omitempty"` // KEKs of before that no key service knows
	File     string   `json:"file,omitempty"`    // of a local KEK: where its master key is
	goesOn   bool
}

func (a *app) kekRotate(ctx context.Context, o rotateFlags) error {
	k, err := a.openKeys(ctx, nil)
	if err != nil {
		return err
	}
	out := kekRotated{Disabled: []string{}}
	if o.create != "" {
		if o.to, out.goesOn, err = k.createOrGoOn(ctx, o); err != nil {
			return err
		}
	}
	if err := k.ring.UseKEK(ctx, o.to, o.reason); err != nil {
		if o.create == "" {
			return err
		}
		return goOnWith(o.to, err)
	}
	if d, err := k.kms.Describe(ctx, o.to); err == nil {
		out.File = d.File
	}
	ring := k.going(o.without)
	out.Rewrapped, err = ring.RewrapAll(ctx, o.reason, nil)
	if err == nil && !o.keep {
		err = k.disableOthers(ctx, ring, o.reason, &out)
	} else {
		err = goOnWith(o.to, err)
	}
	return errors.Join(err, a.printRotated(out))
}

// goOnWith adds to an error how to go on.
func goOnWith(kek string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w (go on with kek rotate --to %s)", err, kek)
}

func (a *app) printRotated(out kekRotated) error {
	if a.flags.json {
		return a.printJSON(out)
	}
	var lines []string
	if out.goesOn {
		lines = append(lines, fmt.Sprintf("going on with %s, which was made before", out.KEK))
	}
	lines = append(lines, fmt.Sprintf("%d keys and %d secrets are under %s, %d of them moved", out.Keys, out.Secrets, out.KEK, out.Moved))
	if out.File != "" {
		lines = append(lines, whereMade(kms.Description{File: out.File}))
	}
	for _, name := range out.Left {
		lines = append(lines, "left, since it cannot be read: "+name)
	}
	for _, kek := range out.Unknown {
		lines = append(lines, fmt.Sprintf("%s is not known to any key service here, and was left", kek))
	}
	for _, kek := range out.Disabled {
		lines = append(lines, "disabled "+a.lookedAt(kek))
	}
	_, err := fmt.Fprintln(a.stdout, strings.Join(lines, "\n"))
	return err
}

// lookedAt is a KEK that was switched off, and where it was looked for what is
// under it.
func (a *app) lookedAt(kek string) string {
	if kms.Scheme(kek) == kms.LocalScheme {
		return kek // others who use it are noted beside it
	}
	return fmt.Sprintf("%s (looked for keys in %s alone: whether another library uses it cannot be told)", kek, a.cfg.Control)
}

// createOrGoOn makes a KEK, or goes on with the one of that name that a run which
// was broken off has made, or one that runs beside this: one that is enabled, and
// was never in use, or is since this run began, or has not everything under it yet.
func (k *keyroom) createOrGoOn(ctx context.Context, o rotateFlags) (kek string, goesOn bool, err error) {
	began := time.Now()
	if o.provider == "" {
		now, err := k.ring.KEK(ctx)
		if err != nil {
			return "", false, err
		}
		o.provider = kms.Scheme(now)
	}
	kek, taken := k.createKEK(ctx, o.provider, o.create, o.reason)
	if !errors.Is(taken, kms.ErrExists) {
		return kek, false, taken
	}
	kek, err = k.kekNamedSoon(ctx, o.provider, o.create)
	if errors.Is(err, keyring.ErrNotFound) {
		return "", false, taken
	}
	if err != nil {
		return "", false, err
	}
	why, err := k.finished(ctx, kek, began)
	switch {
	case err != nil:
		return "", false, err
	case why != "":
		return "", false, fmt.Errorf("create KEK %s: %w: it is %s, %s: choose another name", o.create, kms.ErrExists, kek, why)
	}
	return kek, true, nil
}

// Who has just made a KEK has not written its name down yet.
const (
	nameTries = 8
	namePause = 150 * time.Millisecond
)

// kekNamedSoon waits a little for the name of a KEK that another run makes.
func (k *keyroom) kekNamedSoon(ctx context.Context, provider, name string) (string, error) {
	for try := 1; ; try++ {
		kek, err := k.ring.KEKNamed(ctx, provider, name)
		if try == nameTries || !errors.Is(err, keyring.ErrNotFound) {
			return kek, err
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("look for KEK %s: %w", name, ctx.Err())
		case <-time.After(namePause):
		}
	}
}

// finished says why there is nothing to go on with, or "". What is in use since a
// run began is what that run is for.
func (k *keyroom) finished(ctx context.Context, kek string, began time.Time) (string, error) {
	d, err := k.kms.Describe(ctx, kek)
	if err != nil {
		return "", err
	}
	if d.State != kms.KEKEnabled {
		return "which is " + string(d.State), nil
	}
	choices, err := k.ring.KEKs(ctx)
	if err != nil || !slices.ContainsFunc(choices, func(c keyring.Choice) bool { return c.KEK == kek }) {
		return "", err
	}
	if last := choices[len(choices)-1]; last.KEK != kek {
		return "which was in use before", nil
	} else if !last.Since.Before(began) {
		return "", nil
	}
	for _, c := range choices {
		if c.KEK == kek {
			continue
		}
		n, err := k.ring.UnderKEK(ctx, c.KEK)
		if err != nil || n > 0 {
			return "", err
		}
		if d, err := k.kms.Describe(ctx, c.KEK); err == nil && d.State == kms.KEKEnabled {
			return "", nil
		}
	}
	return "which everything is under already", nil
}

// disableOthers switches off the KEKs that were in use before. One that cannot be
// does not keep the others on.
func (k *keyroom) disableOthers(ctx context.Context, ring *keyring.Ring, reason string, out *kekRotated) error {
	choices, err := k.ring.KEKs(ctx)
	if err != nil {
		return err
	}
	seen := []string{out.KEK}
	var failed []error
	for _, c := range choices {
		if slices.Contains(seen, c.KEK) {
			continue
		}
		seen = append(seen, c.KEK)
		d, err := k.kms.Describe(ctx, c.KEK)
		switch {
		case errors.Is(err, kms.ErrNotFound):
			out.Unknown = append(out.Unknown, c.KEK)
			continue
		case err != nil:
			failed = append(failed, fmt.Errorf("look at old KEK: %w", err))
			continue
		case d.State != kms.KEKEnabled:
			continue
		}
		if err := ring.DisableKEK(ctx, k.kms, c.KEK, reason); err != nil {
			failed = append(failed, err)
			continue
		}
		out.Disabled = append(out.Disabled, c.KEK)
	}
	return errors.Join(failed...)
}
