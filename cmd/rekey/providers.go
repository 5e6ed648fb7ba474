package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
)

// providers opens the key services that are configured, and says which KEK a
// control store that names none begins with.
func (a *app) providers(ctx context.Context) (kms.Set, string, error) {
	set := kms.Set{}
	add := func(scheme string, p kms.Provider) { set[scheme] = kms.Patient(p, kms.Patience{}) }
	file, err := a.masterKeyFile()
	if err != nil {
		return nil, "", err
	}
	local := kms.NewLocal(kms.LocalOptions{
		Path: file, Passphrase: a.passphrase(), DestroyAfter: time.Duration(a.cfg.KMS.Local.DestroyAfter),
	})
	add(kms.LocalScheme, local)
	kek := a.cfg.KMS.KEK
	if kek == "" {
		if kek, err = local.Primary(ctx); err != nil {
			return nil, "", fmt.Errorf("open local KEK: %w", err)
		}
	}
	return set, kek, nil
}

// kmsConfig says where KEKs are.
type kmsConfig struct {
	// KEK is the id of the KEK that a new control store begins with. Zero: the
	// local one. Where the control store names one, that counts: see kek rotate.
	KEK   string      `yaml:"kek"`
	Local localConfig `yaml:"local"`
}

// localConfig sets up local KEKs.
type localConfig struct {
	// Passphrase is prompt, to be asked for what the master key file is sealed
	// under. Zero: it is in the clear, for its owner to read alone.
	Passphrase string `yaml:"passphrase"`
	// DestroyAfter is the time from kek destroy to the end. Zero: 7d.
	DestroyAfter keyring.Age `yaml:"destroy_after"`
}

// masterKeyFile is where the local KEK is.
func (a *app) masterKeyFile() (string, error) {
	if a.cfg.MasterKey != "" {
		return a.cfg.MasterKey, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", usagef("no place for the local KEK: %v; --master-key", err)
	}
	return filepath.Join(dir, "rekey", "master.key"), nil
}
