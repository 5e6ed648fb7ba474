//go:build !fipsonly

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/dashboard"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/rotation"
)

func (a *app) serveCommand() *cobra.Command {
	var listen, tokenFile string
	var admin bool
	c := &cobra.Command{Use: "serve", Short: "Drive open rotations, release what needs a second person, and show the queue page", Long: "Drives every rotation that is not finished, one process at a time by lease, and\nserves the queue page behind a token. With --signing-key it also serves the API,\nto the tokens of rekey identity: what needs a second person goes through it, and\nit puts the audit log in a Merkle tree and signs checkpoints. Put TLS before it.\nWithout --redis the queue and its workers run in this process.", RunE: func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		e, err := a.open(ctx)
		if err != nil {
			return err
		}
		token, err := a.token(tokenFile)
		if err != nil {
			return err
		}
		conn, stop, err := a.attachQueue(ctx, e)
		if err != nil {
			return err
		}
		err = a.serve(ctx, e, listen, dashboard.Options{Redis: conn, Token: token, Admin: admin})
		return errors.Join(err, stop())
	}}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "address of the pages")
	c.Flags().StringVar(&tokenFile, "token-file", "", "file of the token that the pages ask for, or REKEY_PAGES_TOKEN_FILE (absent: one is made and printed)")
	c.Flags().BoolVar(&admin, "admin", false, "let the queue page change the queue")
	return c
}

// token reads the token of the pages, or makes one that lives as long as this
// process. Its variable is not that of the tokens of people: whoever has one of
// those would open the pages with it.
func (a *app) token(file string) (string, error) {
	file = first(file, os.Getenv("REKEY_PAGES_TOKEN_FILE"))
	if file == "" {
		t := rand.Text()
		_, err := fmt.Fprintf(a.stderr, "token of the pages (password of any user): %s\n", t)
		return t, err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", usagef("read token: %v", err)
	}
	t := strings.TrimSpace(string(b))
	if len(t) < 8 {
		return "", usagef("read token: %s holds fewer than 8 characters", file)
	}
	return t, nil
}

// serve runs the pages and drives rotations until ctx ends.
func (a *app) serve(ctx context.Context, e *rotation.Engine, listen string, o dashboard.Options) error {
	signer, err := a.signer(ctx, e)
	if err != nil {
		return err
	}
	w, err := a.watchAll(ctx, e, signer)
	if err != nil {
		return err
	}
	o.Metrics = w.Handler()
	if err := a.attachAPI(ctx, e, signer, &o); err != nil {
		return err
	}
	pages, err := dashboard.New(o)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("serve pages: %w", err)
	}
	if _, err := fmt.Fprintf(a.stderr, "queue page: http://%s/queue\n", l.Addr()); err != nil {
		return err
	}
	srv := &http.Server{Handler: pages, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	go expireKeys(ctx, e)
	driveAll(ctx, e)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = srv.Shutdown(last)
	if serr := <-ended; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return errors.Join(err, pages.Close())
}

// expireEvery is how often keys whose time is up are looked for. They leave active
// use by themselves; this writes it down.
const expireEvery = 10 * time.Minute

func expireKeys(ctx context.Context, e *rotation.Engine) {
	t := time.NewTicker(expireEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		for rec, err := range e.Ring.List(ctx) {
			if err == nil && rec.State == keyring.Active && rec.Expired(e.Clock()) {
				err = e.Ring.Expire(ctx, rec.KID)
			}
			if err != nil && ctx.Err() == nil {
				e.Log.Warn("key was not looked at for its expiry", "error", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

const (
	driveEvery = 2 * time.Second
	driveMax   = 4
)

// driveAll drives every open rotation until ctx ends: a compromise at once, of
// planned runs a few at a time. One that fails is tried again in the next round.
func driveAll(ctx context.Context, e *rotation.Engine) {
	var running sync.Map
	var wg sync.WaitGroup
	slots := make(chan struct{}, driveMax)
	t := time.NewTicker(driveEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		for state, err := range e.Open(ctx) {
			if err != nil {
				e.Log.Warn("open rotations cannot be listed", "error", err)
				break
			}
			id := state.Rotation
			if _, busy := running.LoadOrStore(id, true); busy {
				continue
			}
			wg.Go(func() {
				defer running.Delete(id)
				if state.Kind != journal.Compromise {
					select {
					case slots <- struct{}{}:
					case <-ctx.Done():
						return
					}
					defer func() { <-slots }()
				}
				if _, err := e.Drive(ctx, id); err != nil && ctx.Err() == nil {
					e.Log.Warn("rotation is not driven here", "rotation", id, "error", err)
				}
			})
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	wg.Wait()
}
