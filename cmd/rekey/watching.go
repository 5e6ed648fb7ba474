//go:build !fipsonly

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/watch"
)

// startWatch watches a control store until ctx ends: the whole of it in serve, the
// errors of key services alone in a worker.
func (a *app) startWatch(ctx context.Context, e *rotation.Engine, whole bool) (*watch.Watcher, error) {
	o := watch.Options{Log: e.Log, NearExpiry: time.Duration(a.cfg.NearExpiry)}
	if whole {
		o.Control, o.Ring = e.Control, e.Ring
		if a.cfg.Webhook.URL != "" {
			o.Webhook = &watch.Webhook{URL: a.cfg.Webhook.URL, SecretFile: a.cfg.Webhook.SecretFile}
		}
	}
	w, err := watch.New(o)
	if errors.Is(err, watch.ErrWebhook) {
		return nil, usagef("webhook: %v", err)
	}
	if err != nil {
		return nil, err
	}
	a.failed.set(w.KMSFailed)
	go func() {
		if err := w.Run(ctx); err != nil && ctx.Err() == nil {
			e.Log.Warn("nothing is watched", "error", err)
		}
	}()
	return w, nil
}

// serveMetrics serves a worker's metrics until ctx ends. They are open to whoever
// reaches the address.
func serveMetrics(ctx context.Context, listen string, w *watch.Watcher) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("serve metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", w.Handler())
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return nil
}
