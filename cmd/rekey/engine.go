//go:build !fipsonly

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/worker"
)

// rotationCommands are those that need the queue: it cannot run where only
// FIPS 140 algorithms may (its Redis client hashes scripts with SHA-1).
func (a *app) rotationCommands() []*cobra.Command {
	return []*cobra.Command{
		a.demoCommand(), a.scanCommand(), a.scopeCommand(), a.compromiseCommand(),
		a.rotateCommand(), a.scheduleCommand(), a.workerCommand(), a.statusCommand(), a.pauseCommand(), a.resumeCommand(), a.cancelCommand(), a.cleanCommand(),
		a.verifyCommand(), a.serveCommand(),
	}
}

// open makes the engine over the configured stores and keys.
func (a *app) open(ctx context.Context) (*rotation.Engine, error) {
	if err := a.cfg.places(); err != nil {
		return nil, err
	}
	media, err := store.Open(ctx, a.cfg.Media)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrLocation) {
		return nil, usagef("open media root: %v", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open media root: %w", err)
	}
	space, err := catalog.NewSpace(a.cfg.Origins, a.cfg.External)
	if err != nil {
		return nil, usagef("read config: origins, external: %v", err)
	}
	var openings *rotation.Openings
	k, err := a.openKeys(ctx, func(k *keyroom) {
		openings = rotation.NewOpenings(journal.New(k.control))
		k.options.Rotations = openings
	})
	if err != nil {
		return nil, err
	}
	e := &rotation.Engine{
		Media: media, Root: rootName(a.cfg.Media), Control: k.control, Audit: k.audit, Actor: k.actor,
		Ring: k.ring, Openings: openings,
		Clock: time.Now, Log: a.log(), Owner: ownerName(k.actor),
		Space: space, NewKeyURIs: a.cfg.NewKeyURI,
		HandoverNone: a.cfg.Handover.None, Lease: time.Duration(a.cfg.Lease),
	}
	if len(a.cfg.Handover.Command) > 0 {
		e.Receiver = commandReceiver{argv: a.cfg.Handover.Command, stderr: a.stderr}
	}
	return e, a.attachService(ctx, e)
}

// rootName is what the index calls a media root: one name, however it is given.
func rootName(media string) string {
	if isS3(media) {
		return strings.TrimRight(media, "/")
	}
	if abs, err := filepath.Abs(media); err == nil {
		media = abs
	}
	if real, err := filepath.EvalSymlinks(media); err == nil {
		media = real
	}
	return media
}

// newWorker is the worker of an engine. The keys it opens are forgotten soon
// after their rotation is over, until ctx ends.
func newWorker(ctx context.Context, e *rotation.Engine, readBack bool) *worker.Worker {
	cache := keyring.NewCache(e.Ring, keyring.CacheOptions{})
	w := &worker.Worker{
		Media: e.Media, Journal: e.Journal(), Keys: cache, Name: e.Owner,
		Clock: e.Clock, Log: e.Log, ReadBack: readBack,
	}
	go sweep(ctx, cache, e, w)
	return w
}

const (
	sweepEvery = 2 * time.Second
	// sweepRounds is how often memory is collected after keys were dropped, and
	// again after each part that ends later: one that was handed out twice may
	// outlive its rotation. A first collection finds the keys, overwrites them,
	// and what they were part of is found by the next.
	sweepRounds = 5
	// sweepIdle is in how many looks an idle worker that has worked collects its
	// memory once more: whatever left garbage late, it does not stay.
	sweepIdle = 5
)

// sweep forgets keys and gives the memory they were in back to the system, which
// hands it out zeroed. Memory that Go has not collected yet, or that it keeps
// beside other things, may hold copies for longer.
func sweep(ctx context.Context, cache *keyring.Cache, e *rotation.Engine, w *worker.Worker) {
	over := func(ctx context.Context, rotation string) (bool, error) {
		s, _, err := e.Journal().State(ctx, rotation)
		return err == nil && s.Phase.Stopped(), err
	}
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	rounds, idle, ended := 0, 0, int64(0)
	for {
		select {
		case <-ctx.Done():
			cache.Close()
			return
		case <-t.C:
		}
		if now := w.Ended(); cache.Sweep(ctx, over) || now != ended && cache.Empty() {
			rounds, idle, ended = sweepRounds, 0, now
		}
		if idle++; rounds == 0 && ended > 0 && idle%sweepIdle == 0 && cache.Empty() {
			rounds = 1
		}
		if rounds > 0 {
			rounds--
			runtime.GC() // finalizers overwrite keys, and free their memory for the next
			debug.FreeOSMemory()
		}
	}
}

// attachQueue gives the engine its queue. Without Redis one is started in this
// process, with workers. The returned function stops them.
func (a *app) attachQueue(ctx context.Context, e *rotation.Engine) (asynq.RedisConnOpt, func() error, error) {
	if a.cfg.Redis != "" {
		conn, err := queue.Open(a.cfg.Redis)
		if err != nil {
			return nil, nil, err
		}
		c := queue.NewClient(conn)
		if err := c.Ping(); err != nil {
			return nil, nil, err
		}
		e.Queue = c
		return conn, c.Close, nil
	}
	// The in-process Redis outlives an interrupt, so that workers can end well.
	local, cancel := context.WithCancel(context.WithoutCancel(ctx))
	conn, err := queue.StartLocal(local)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	c := queue.NewClient(conn)
	e.Queue = c
	ended := make(chan error, 1)
	serve, stop := context.WithCancel(ctx)
	go func() {
		ended <- queue.Serve(serve, conn, newWorker(serve, e, false), nil, queue.ServerOptions{Log: e.Log})
	}()
	return conn, func() error {
		stop()
		err := <-ended
		_ = c.Close()
		cancel()
		return err
	}, nil
}
