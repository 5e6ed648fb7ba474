//go:build !fipsonly

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/dashboard"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
)

// The demo's two leaked keys: movie's video key and clip's published key object.
const (
	demoKID    = "6d6f766965000000a1b2c3d4e5f60718"
	demoKeyURI = "clip/key.bin"
)

func (a *app) demoCommand() *cobra.Command {
	var serve bool
	var dir string
	c := &cobra.Command{Use: "demo", Short: "The whole job on this machine, nothing to install", RunE: func(cmd *cobra.Command, _ []string) error {
		return a.demo(cmd.Context(), dir, serve)
	}}
	c.Flags().BoolVar(&serve, "serve", false, "keep the queue page up when done")
	c.Flags().StringVar(&dir, "dir", "", "where to lay the library out (default: a new temporary folder, which stays)")
	return c
}

// layOut writes the demo's library and points the configuration at it.
func (a *app) layOut(dir string) error {
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", "rekey-demo-")
	} else {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return fmt.Errorf("make demo folder: %w", err)
	}
	media := filepath.Join(dir, "media")
	if err := os.CopyFS(media, fixtures.Library()); err != nil {
		return fmt.Errorf("lay out library: %w", err)
	}
	if err := os.MkdirAll(media+"-control", 0o700); err != nil {
		return fmt.Errorf("make control prefix: %w", err)
	}
	a.cfg = config{
		Media: media, MasterKey: filepath.Join(dir, "master.key"),
		Handover: handover{None: true},
	}
	return nil
}

func (a *app) demo(ctx context.Context, dir string, serve bool) (err error) {
	began := time.Now()
	if err := a.layOut(dir); err != nil {
		return err
	}
	e, err := a.open(ctx)
	if err != nil {
		return err
	}
	if err := demoImport(ctx, e); err != nil {
		return err
	}
	rec, err := rescan(ctx, e, false)
	if err != nil {
		return err
	}
	kid, err := key.ParseKID(demoKID)
	if err != nil {
		return err
	}
	kids := []key.KID{kid, key.KIDFromURI(demoKeyURI)}
	a.say("library     %s: %d assets\nleaked      KID %s (movie's video), key URI %s\n", a.cfg.Media, rec.Assets, kid, demoKeyURI)
	if err := a.demoScope(ctx, e, kids); err != nil {
		return err
	}
	conn, stop, err := a.attachQueue(ctx, e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	worked := time.Now()
	s, err := demoRotate(ctx, e, kids)
	if err != nil {
		return err
	}
	if err := a.demoResult(ctx, e, s, time.Since(worked)); err != nil {
		return err
	}
	a.say("took        %s in all\nlook around rekey status %s --media %s --master-key %s\n            old and new side by side: %s/movie and %s/movie/%s/%s\n",
		time.Since(began).Round(time.Millisecond), s.Rotation, a.cfg.Media, a.cfg.MasterKey,
		a.cfg.Media, a.cfg.Media, catalog.TreeDir, s.Rotation)
	if !serve {
		return nil
	}
	token, err := a.token("")
	if err != nil {
		return err
	}
	return a.serve(ctx, e, "127.0.0.1:0", dashboard.Options{Redis: conn, Token: token})
}

// say prints for people; --json leaves it out.
func (a *app) say(format string, args ...any) {
	if !a.flags.json {
		_, _ = fmt.Fprintf(a.stdout, format, args...)
	}
}

func demoImport(ctx context.Context, e *rotation.Engine) error {
	entries, err := keyring.ParseImport(strings.NewReader(string(fixtures.Keys())))
	if err != nil {
		return err
	}
	for _, k := range entries {
		if _, err := e.Ring.Import(ctx, k.KID, k.Key, keyring.ImportOptions{URI: k.URI}); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) demoScope(ctx context.Context, e *rotation.Engine, kids []key.KID) error {
	for _, kid := range kids {
		for entry, err := range e.Index().Scope(ctx, kid) {
			if err != nil {
				return err
			}
			a.say("depends     %s on %s: %d tracks, %d objects, %s\n", entry.Asset, kid, entry.Tracks, entry.Objects, size(entry.Bytes))
		}
	}
	return nil
}

func demoRotate(ctx context.Context, e *rotation.Engine, kids []key.KID) (rotation.Status, error) {
	p, err := e.Start(ctx, rotation.Request{Kind: journal.Compromise, KIDs: kids, Reason: "demo: the keys leaked"})
	if err != nil {
		return rotation.Status{}, err
	}
	state, err := e.Drive(ctx, p.Rotation)
	if err != nil {
		return rotation.Status{}, err
	}
	s, err := e.Status(ctx, p.Rotation)
	if err != nil {
		return s, err
	}
	return s, ending(state)
}

func (a *app) demoResult(ctx context.Context, e *rotation.Engine, s rotation.Status, took time.Duration) error {
	if err := a.printStatus(s); err != nil {
		return err
	}
	objects, bytes := 0, int64(0)
	for _, as := range s.Assets {
		for _, t := range as.Tracks {
			objects, bytes = objects+t.Objects, bytes+t.Bytes
		}
	}
	a.say("re-encrypted %d objects, %s, planned, published and verified in %s\n", objects, size(bytes), took.Round(time.Millisecond))
	for _, as := range s.Assets {
		rep, err := e.Verify(ctx, as.Asset)
		if err != nil {
			return err
		}
		a.say("verified    %s through its manifests: %d objects decrypt with the keys they name, %d equal to what was there before\n", rep.Asset, rep.Objects, rep.Equal)
		if len(rep.Problems) > 0 {
			return fmt.Errorf("%s: %s: %w", rep.Problems[0].Object, rep.Problems[0].Reason, errBad)
		}
	}
	n, err := untouched(ctx, e, s)
	if err != nil {
		return err
	}
	a.say("untouched   %d objects of the other assets, byte for byte\n", n)
	return nil
}

// untouched compares every object outside the rotated assets with the library
// that was laid out.
func untouched(ctx context.Context, e *rotation.Engine, s rotation.Status) (int, error) {
	n := 0
	err := fs.WalkDir(fixtures.Library(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, as := range s.Assets {
			if strings.HasPrefix(name, as.Asset+"/") {
				return nil
			}
		}
		want, err := fs.ReadFile(fixtures.Library(), name)
		if err != nil {
			return err
		}
		got, _, err := store.ReadAll(ctx, e.Media, name, "", int64(len(want)), nil)
		if err != nil {
			return err
		}
		if string(got) != string(want) {
			return fmt.Errorf("%s changed: %w", name, errBad)
		}
		n++
		return nil
	})
	return n, err
}
