//go:build !fipsonly

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
)

func (a *app) scheduleCommand() *cobra.Command {
	return &cobra.Command{Use: "schedule", Short: "Start the planned runs that the config's policies name", Long: "Pokes each policy at its cron times (UTC). Any number may run: the record of\na tick is created once, and whoever creates it plans the run. Drive the runs\nwith rekey serve and do the work with rekey worker.", RunE: func(cmd *cobra.Command, _ []string) error {
		if a.cfg.Redis == "" {
			return usagef("a schedule needs the queue: --redis")
		}
		return a.schedule(cmd.Context())
	}}
}

func (a *app) schedule(ctx context.Context) error {
	e, err := a.open(ctx)
	if err != nil {
		return err
	}
	conn, err := queue.Open(a.cfg.Redis)
	if err != nil {
		return err
	}
	crons := map[string]string{}
	policies := map[string]rotation.Policy{}
	for _, p := range a.cfg.Policies {
		if _, err := p.Nominal(time.Now()); err != nil {
			return usagef("%v", err)
		}
		crons[p.Name], policies[p.Name] = p.Cron, p
	}
	if len(crons) == 0 {
		return usagef("no policies in the config")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- queue.RunSchedule(ctx, conn, crons, e.Log) }()
	go func() {
		ended <- queue.Serve(ctx, conn, nil, ticker{e, policies}, queue.ServerOptions{Concurrency: 1, Log: e.Log})
	}()
	err = <-ended
	cancel()
	return errors.Join(err, <-ended)
}

// ticker plans the run of a policy whose tick it takes.
type ticker struct {
	e        *rotation.Engine
	policies map[string]rotation.Policy
}

// Tick plans at most one run for each nominal time, however often and by
// however many schedulers it is poked.
func (t ticker) Tick(ctx context.Context, tick queue.Tick) error {
	p, ok := t.policies[tick.Policy]
	if !ok {
		return queue.Permanent(fmt.Errorf("tick of unknown policy %q", tick.Policy))
	}
	nominal, err := p.Nominal(t.e.Clock())
	if err != nil {
		return queue.Permanent(err)
	}
	if err := t.e.TakeTick(ctx, p.Name, nominal); errors.Is(err, rotation.ErrTaken) {
		return nil
	} else if err != nil {
		return err
	}
	planned, err := t.e.StartPlanned(ctx, time.Duration(p.OlderThan), rotation.Request{Reason: "policy " + p.Name})
	outcome := planned.Rotation
	if errors.Is(err, rotation.ErrNothing) {
		outcome, err = "nothing is due", nil
	}
	if err != nil {
		// The tick stays ours and unfinished: the queue brings it again.
		t.e.Log.Error("tick: the run was not planned", "policy", p.Name, "nominal", nominal, "error", err)
		return err
	}
	t.e.Log.Info("tick", "policy", p.Name, "nominal", nominal, "outcome", outcome)
	return t.e.FinishTick(ctx, p.Name, nominal, outcome)
}
