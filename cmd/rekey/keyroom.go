package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// keyroom is what commands on keys need: no media, no queue.
type keyroom struct {
	control store.Store
	audit   *audit.Log
	kms     kms.Set
	options keyring.Options
	ring    *keyring.Ring
	actor   string
}

// openKeys opens the control store and the keys in it. change, if not nil, may
// set more of the ring's options.
func (a *app) openKeys(ctx context.Context, change func(*keyroom)) (*keyroom, error) {
	if err := a.makeControl(); err != nil {
		return nil, err
	}
	control, err := a.openControl(ctx)
	if err != nil {
		return nil, err
	}
	set, begin, err := a.providers(ctx)
	if err != nil {
		return nil, err
	}
	actor := actorName()
	k := &keyroom{control: control, audit: audit.New(control, time.Now, actor), kms: set, actor: actor}
	k.options = keyring.Options{
		Store: control, KMS: set, FirstKEK: begin, Log: k.audit, Clock: time.Now,
		Window: time.Duration(a.cfg.CompromiseWindow), Lifetimes: a.cfg.lifetimes(),
	}
	if change != nil {
		change(k)
	}
	k.ring = keyring.New(k.options)
	return k, nil
}

// makeControl makes the folder of rekey's own state, where it is one. That it is
// new is said: its name may be mistyped, and nothing is known there.
func (a *app) makeControl() error {
	if err := a.cfg.controlPlace(); err != nil || isS3(a.cfg.Control) {
		return err
	}
	_, err := os.Stat(a.cfg.Control)
	isNew := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(a.cfg.Control, 0o700); err != nil {
		return fmt.Errorf("make control prefix: %w", err)
	}
	if isNew {
		a.log().Warn("control prefix is new: no key and no library is known in it", "control", a.cfg.Control)
	}
	return nil
}

// openControl opens rekey's own state as it is.
func (a *app) openControl(ctx context.Context) (store.Store, error) {
	if err := a.cfg.controlPlace(); err != nil {
		return nil, err
	}
	control, err := store.Open(ctx, a.cfg.Control)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrLocation) {
		return nil, usagef("open control prefix: %v", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open control prefix: %w", err)
	}
	return control, nil
}

// index is the catalogue's index in the control store.
func (k *keyroom) index() *catalog.Index { return catalog.NewIndex(k.control) }

// actorName is who the audit record names.
func actorName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + host
	}
	return "uid" + fmt.Sprint(os.Getuid()) + "@" + host
}

// ownerName tells two processes of one actor apart.
func ownerName(actor string) string {
	var b [4]byte
	// crypto/rand.Read never returns an error; it crashes the program instead.
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%s/%d-%s", actor, os.Getpid(), hex.EncodeToString(b[:]))
}
