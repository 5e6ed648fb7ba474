//go:build !fipsonly

package main

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/watch"
)

func (a *app) workerCommand() *cobra.Command {
	var concurrency int
	var readBack bool
	var metrics string
	c := &cobra.Command{Use: "worker", Short: "Serve the queue", RunE: func(cmd *cobra.Command, _ []string) error {
		if a.cfg.Redis == "" {
			return usagef("a worker needs the queue: --redis")
		}
		ctx := cmd.Context()
		// A worker without the master key can do nothing; making one would hide
		// that.
		if a.cfg.KMS.KEK == "" {
			if file, err := a.masterKeyFile(); err != nil {
				return err
			} else if err := hasMasterKey(file); err != nil {
				return usagef("a worker needs the master key that the records are under: %v", err)
			}
		}
		e, err := a.open(ctx)
		if err != nil {
			return err
		}
		conn, err := queue.Open(a.cfg.Redis)
		if err != nil {
			return err
		}
		if metrics != "" {
			w, err := a.startWatch(ctx, e, watch.Options{})
			if err == nil {
				err = serveMetrics(ctx, metrics, w)
			}
			if err != nil {
				return err
			}
		}
		return queue.Serve(ctx, conn, newWorker(ctx, e, readBack), nil, queue.ServerOptions{Concurrency: concurrency, Log: e.Log})
	}}
	c.Flags().IntVar(&concurrency, "concurrency", 0, "parts worked at once (0: 4)")
	c.Flags().StringVar(&metrics, "metrics", "", "address to serve metrics at, to anybody (absent: none)")
	c.Flags().BoolVar(&readBack, "read-back", false, "read every object back after it is written (first and last of a track always are)")
	return c
}

// hasMasterKey reports whether there is a master key at file, or beside it: after
// kek rotate the first may be gone.
func hasMasterKey(file string) error {
	_, err := os.Stat(file)
	if err == nil {
		return nil
	}
	if more, listErr := os.ReadDir(file + ".d"); listErr == nil && slices.ContainsFunc(more, func(e os.DirEntry) bool { return filepath.Ext(e.Name()) == ".key" }) {
		return nil
	}
	return err
}
