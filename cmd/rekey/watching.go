//go:build !fipsonly

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/watch"
)

// watchAll watches the control store for serve, until ctx ends. Published
// checkpoints must be of the signer, if there is one.
func (a *app) watchAll(ctx context.Context, e *rotation.Engine, signer *audit.Signer) (*watch.Watcher, error) {
	o := watch.Options{Control: e.Control, Ring: e.Ring}
	if signer != nil {
		o.Verifier = signer.Verifier()
	}
	if a.cfg.Webhook.URL != "" {
		o.Webhook = &watch.Webhook{URL: a.cfg.Webhook.URL, SecretFile: a.cfg.Webhook.SecretFile}
	}
	return a.startWatch(ctx, e, o)
}

// startWatch runs a watcher until ctx ends. With no control store in o it counts
// the errors of key services alone, as a worker does.
func (a *app) startWatch(ctx context.Context, e *rotation.Engine, o watch.Options) (*watch.Watcher, error) {
	o.Log, o.NearExpiry = e.Log, time.Duration(a.cfg.NearExpiry)
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
