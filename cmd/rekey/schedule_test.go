//go:build !fipsonly

package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
)

// Two schedulers, poked many times within one tick, plan one run.
func TestOneRunPerTick(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "media"), fixtures.Library()); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	policy := rotation.Policy{Name: "nightly", Cron: "0 3 * * *"}
	var tickers []ticker
	for range 2 {
		a := &app{stdout: t.Output(), stderr: t.Output()}
		a.cfg = config{Media: filepath.Join(dir, "media"), MasterKey: filepath.Join(dir, "master.key"), Handover: handover{None: true}}
		e, err := a.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		e.Clock, e.Log = func() time.Time { return now }, slog.New(slog.DiscardHandler)
		tickers = append(tickers, ticker{e: e, policies: map[string]rotation.Policy{policy.Name: policy}})
	}
	e := tickers[0].e
	poke := func(want bool) {
		t.Helper()
		for range 3 {
			for _, tk := range tickers {
				if err := tk.Tick(t.Context(), queue.Tick{Policy: policy.Name}); (err == nil) != want {
					t.Errorf("tick: %v, want success %v", err, want)
				}
			}
		}
	}
	// Nothing is scanned yet: the owner fails and keeps the tick.
	if err := tickers[0].Tick(t.Context(), queue.Tick{Policy: policy.Name}); err == nil {
		t.Error("a run was planned over a library that was never scanned")
	}
	entries, err := keyring.ParseImport(strings.NewReader(string(fixtures.Keys())))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range entries {
		if _, err := e.Ring.Import(t.Context(), k.KID, k.Key, keyring.ImportOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rescan(t.Context(), e, false); err != nil {
		t.Fatal(err)
	}
	rotations := func() int {
		n := 0
		for _, err := range e.Journal().Rotations(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	now = now.Add(time.Second)
	poke(true)
	if n := rotations(); n != 1 {
		t.Errorf("%d runs within one tick", n)
	}
	now = now.Add(24 * time.Hour)
	poke(true)
	if n := rotations(); n != 2 {
		t.Errorf("%d runs after two ticks", n)
	}
	if err := tickers[0].Tick(t.Context(), queue.Tick{Policy: "gone"}); err == nil || errors.Is(err, rotation.ErrTaken) {
		t.Errorf("tick of no policy: %v", err)
	}
}
