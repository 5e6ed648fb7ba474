//go:build !fipsonly

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/rotation"
)

// runFlags are what every command that starts a rotation has.
type runFlags struct {
	dryRun, wait, acceptUnproved bool
	publish, reason, asset       string
}

func (r *runFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&r.dryRun, "dry-run", false, "plan, print what would be done, change nothing")
	f.BoolVar(&r.wait, "wait", false, "drive the rotation to its end here (without --redis with workers in this process)")
	f.StringVar(&r.publish, "publish", "versioned", "publish mode; only versioned so far")
	f.BoolVar(&r.acceptUnproved, "accept-unproved", false, "publish assets whose old key the media does not prove")
	f.StringVar(&r.reason, "reason", "", "why, for the audit record")
	f.StringVar(&r.asset, "asset", "", "rotate this asset only")
}

// check refuses what cannot end well before anything is touched.
func (a *app) check(r *runFlags) error {
	if r.publish != "versioned" {
		return usagef("publish mode %q is not supported yet: only versioned", r.publish)
	}
	if !r.dryRun && !r.wait && a.cfg.Redis == "" {
		return usagef("nobody would do the work: give --redis for workers elsewhere, or --wait to work here")
	}
	return nil
}

func (a *app) compromiseCommand() *cobra.Command {
	var keys keyFlags
	var r runFlags
	c := &cobra.Command{Use: "compromise", Short: "A key has leaked: rotate everything that depends on it", RunE: func(cmd *cobra.Command, _ []string) error {
		if _, err := keys.parse(); err != nil {
			return err
		}
		return a.start(cmd.Context(), &r, func(ctx context.Context, e *rotation.Engine) (rotation.Planned, error) {
			kids, err := keys.resolve(ctx, e)
			if err != nil {
				return rotation.Planned{}, err
			}
			return e.Start(ctx, rotation.Request{
				Kind: journal.Compromise, KIDs: kids, Reason: r.reason, Asset: r.asset,
				AcceptUnproved: r.acceptUnproved, DryRun: r.dryRun,
			})
		})
	}}
	keys.add(c)
	r.add(c)
	return c
}

// start opens everything, plans, and drives where it is asked to.
func (a *app) start(ctx context.Context, r *runFlags, plan func(context.Context, *rotation.Engine) (rotation.Planned, error)) error {
	if err := a.check(r); err != nil {
		return err
	}
	e, err := a.open(ctx)
	if err != nil {
		return err
	}
	p, err := plan(ctx, e)
	if err != nil {
		return err
	}
	switch {
	case r.dryRun:
		err = a.printPlan(p)
	case !r.wait:
		err = a.printStarted(p)
	default:
		err = a.drive(ctx, e, p.Rotation)
	}
	if (err == nil || errors.Is(err, errPartial)) && len(p.Opaque) > 0 {
		err = errors.Join(err, fmt.Errorf("%w: of %d assets it is not known which keys they use: %s",
			errPartial, len(p.Opaque), strings.Join(p.Opaque, ", ")))
	}
	return err
}

func (a *app) printPlan(p rotation.Planned) error {
	s := rotation.Status{State: journal.Planning, Assets: []rotation.AssetStatus{}}
	objects, bytes, refused := 0, int64(0), 0
	for _, plan := range p.Plans {
		n, b := plan.Size()
		objects, bytes = objects+n, bytes+b
		s.Parts += len(plan.Parts)
		s.Assets = append(s.Assets, rotation.AssetStatusOf(plan))
		if plan.Refusal != nil {
			refused++
		}
	}
	if a.flags.json {
		return a.printJSON(struct {
			rotation.Status
			Objects int   `json:"objects"`
			Bytes   int64 `json:"bytes"`
			Refused int   `json:"refused"`
		}{s, objects, bytes, refused})
	}
	_, err := fmt.Fprintf(a.stdout, "dry run: %d assets (%d cannot be rotated), %d objects, %s; nothing was changed\n", len(p.Plans), refused, objects, size(bytes))
	if err != nil {
		return err
	}
	return a.printAssets(s.Assets)
}

func (a *app) printStarted(p rotation.Planned) error {
	if a.flags.json {
		return a.printJSON(map[string]any{"rotation": p.Rotation, "assets": len(p.Plans)})
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n", p.Rotation)
	if err == nil {
		_, err = fmt.Fprintf(a.stderr, "planned %d assets; a running rekey serve drives it, or: rekey resume %s --wait\n", len(p.Plans), p.Rotation)
	}
	return err
}

// drive carries a rotation to its end in this process and prints how it ended.
func (a *app) drive(ctx context.Context, e *rotation.Engine, id string) (err error) {
	_, stop, err := a.attachQueue(ctx, e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	state, err := e.Drive(ctx, id)
	halted := errors.Is(err, rotation.ErrPaused) || errors.Is(err, rotation.ErrCancelled)
	if err != nil && !halted {
		return err
	}
	s, serr := e.Status(ctx, id)
	if serr == nil {
		serr = a.printStatus(s)
	}
	if halted || serr != nil {
		return errors.Join(err, serr)
	}
	return ending(state)
}

func ending(s journal.State) error {
	switch s.Phase {
	case journal.Partial:
		return fmt.Errorf("rotation %s: %w", s.Rotation, errPartial)
	case journal.Failed:
		// The run itself worked; every asset was refused or failed.
		return fmt.Errorf("rotation %s: %w: %w", s.Rotation, errPartial, errFailed)
	default:
		return nil
	}
}
