package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/aws"
	"github.com/seed-6133abe0/rekey/kms/gcp"
	"github.com/seed-6133abe0/rekey/kms/pkcs11"
	"github.com/seed-6133abe0/rekey/kms/vault"
)

// kmsConfig says where KEKs are.
type kmsConfig struct {
	// KEK is the id of the KEK that a new control store begins with. Zero: the
	// local one. Where the control store names one, that counts: see kek rotate.
	KEK    string       `yaml:"kek"`
	Local  localConfig  `yaml:"local"`
	AWS    *awsConfig   `yaml:"aws"`
	GCP    *gcpConfig   `yaml:"gcp"`
	Vault  *vaultConfig `yaml:"vault"`
	PKCS11 *tokenConfig `yaml:"pkcs11"`
}

// localConfig sets up local KEKs.
type localConfig struct {
	// Passphrase is prompt, to be asked for what the master key file is sealed
	// under. Zero: it is in the clear, for its owner to read alone.
	Passphrase string `yaml:"passphrase"`
	// Credential names a systemd credential (LoadCredential=) that is the master
	// key file. Zero: master_key says where it is.
	Credential string `yaml:"credential"`
	// DestroyAfter is the time from kek destroy to the end. Zero: 7d.
	DestroyAfter keyring.Age `yaml:"destroy_after"`
}

// awsConfig is for AWS KMS; credentials come as AWS's tools find them.
type awsConfig struct {
	Region   string `yaml:"region"`   // zero: that of AWS's settings
	Endpoint string `yaml:"endpoint"` // zero: AWS's own
	// PendingWindowInDays is the time from kek destroy to the end. Zero: 7.
	PendingWindowInDays int `yaml:"pending_window_in_days"`
}

// gcpConfig is for Google Cloud KMS; credentials are the application default.
type gcpConfig struct {
	KeyRing    string `yaml:"key_ring"`   // projects/P/locations/L/keyRings/R
	Protection string `yaml:"protection"` // software or hsm; zero: software
	// DestroyAfter is for KEKs that are made. Zero: 30d.
	DestroyAfter keyring.Age `yaml:"destroy_after"`
	// Endpoint is 127.0.0.1:port of a server or proxy on this machine, reached
	// without credentials. Zero: Google's.
	Endpoint string `yaml:"endpoint"`
}

// vaultConfig is for the transit engine of Vault or OpenBao.
type vaultConfig struct {
	Address      string      `yaml:"address"`
	Namespace    string      `yaml:"namespace"`
	Mount        string      `yaml:"mount"`          // zero: transit
	TokenFile    string      `yaml:"token_file"`     // or an AppRole:
	RoleIDFile   string      `yaml:"role_id_file"`   //
	SecretIDFile string      `yaml:"secret_id_file"` //
	AppRoleMount string      `yaml:"approle_mount"`  // zero: approle
	CAFile       string      `yaml:"ca_file"`        // zero: the system's
	DestroyAfter keyring.Age `yaml:"destroy_after"`  // zero: 30d
}

// tokenConfig is for an HSM or token behind PKCS#11.
type tokenConfig struct {
	Module       string      `yaml:"module"` // absolute path of the library
	Token        string      `yaml:"token"`  // its label
	Serial       string      `yaml:"serial"` // where several have the label
	PINFile      string      `yaml:"pin_file"`
	DestroyAfter keyring.Age `yaml:"destroy_after"` // zero: 7d
}

// firstKEK says which KEK a control store that names none begins with.
type firstKEK func(ctx context.Context) (string, error)

// providers opens the key services that are configured. The local one is there
// always; a master key is made for a control store that begins with it, and by
// kek create and rotate.
func (a *app) providers(ctx context.Context) (kms.Set, firstKEK, error) {
	set := kms.Set{}
	file, err := a.masterKeyFile()
	if err != nil {
		return nil, nil, err
	}
	c := a.cfg.KMS
	local := kms.NewLocal(kms.LocalOptions{
		Path: file, Passphrase: a.passphrase(), Store: a.controlStore, Unnoted: a.kekUnnoted,
		DestroyAfter: time.Duration(c.Local.DestroyAfter),
	})
	set[kms.LocalScheme] = local
	if err := errors.Join(c.addCloud(ctx, set), c.addOwn(ctx, set)); err != nil {
		return nil, nil, usagef("open key services: %v", err)
	}
	for scheme, p := range set {
		set[scheme] = kms.Patient(p, kms.Patience{Failed: a.kmsFailed})
	}
	if c.KEK != "" {
		return set, func(context.Context) (string, error) { return c.KEK, nil }, nil
	}
	return set, local.Primary, nil
}

// controlStore is the control store as those see it who share its master key. It
// gets its id with the first use of a local KEK.
func (a *app) controlStore(ctx context.Context) (kms.LocalStore, error) {
	control, err := a.openControl(ctx)
	if err != nil {
		return kms.LocalStore{}, err
	}
	id, err := keyring.StoreID(ctx, control)
	return kms.LocalStore{ID: id, Name: a.controlName()}, err
}

func (a *app) controlName() string {
	if isS3(a.cfg.Control) {
		return strings.TrimRight(a.cfg.Control, "/")
	}
	path, err := filepath.Abs(a.cfg.Control)
	if err != nil {
		return a.cfg.Control
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// kekUnnoted hears of a local KEK whose users cannot be noted.
func (a *app) kekUnnoted(kek string, err error) {
	a.log().Warn("keys are wrapped under a KEK that others may switch off: that this control store uses it cannot be noted", "kek", kek, "error", err)
}

// addCloud adds the services of cloud providers.
func (c kmsConfig) addCloud(ctx context.Context, set kms.Set) error {
	if o := c.AWS; o != nil {
		p, err := aws.New(ctx, aws.Options{Region: o.Region, Endpoint: o.Endpoint, PendingWindowInDays: o.PendingWindowInDays})
		if err != nil {
			return err
		}
		set[aws.Scheme] = p
	}
	if o := c.GCP; o != nil {
		level, ok := map[string]gcp.Protection{"": gcp.Software, "software": gcp.Software, "hsm": gcp.HSM}[o.Protection]
		if !ok {
			return fmt.Errorf("gcp: protection %q is not software or hsm", o.Protection)
		}
		p, err := gcp.New(ctx, gcp.Options{
			KeyRing: o.KeyRing, Protection: level, DestroyAfter: time.Duration(o.DestroyAfter), Endpoint: o.Endpoint,
		})
		if err != nil {
			return err
		}
		set[gcp.Scheme] = p
	}
	return nil
}

// addOwn adds the services that one runs oneself.
func (c kmsConfig) addOwn(ctx context.Context, set kms.Set) error {
	if o := c.Vault; o != nil {
		p, err := vault.New(ctx, vault.Options{
			Address: o.Address, Namespace: o.Namespace, Mount: o.Mount, TokenFile: o.TokenFile,
			RoleIDFile: o.RoleIDFile, SecretIDFile: o.SecretIDFile, AppRoleMount: o.AppRoleMount,
			CAFile: o.CAFile, DestroyAfter: time.Duration(o.DestroyAfter),
		})
		if err != nil {
			return err
		}
		set[vault.Scheme] = p
	}
	if o := c.PKCS11; o != nil {
		p, err := pkcs11.New(ctx, pkcs11.Options{
			Module: o.Module, Token: o.Token, Serial: o.Serial, PINFile: o.PINFile, DestroyAfter: time.Duration(o.DestroyAfter),
		})
		if err != nil {
			return err
		}
		set[pkcs11.Scheme] = p
	}
	return nil
}

// kmsFailed hears of every error of a key service.
func (a *app) kmsFailed(scheme string, err error) {
	a.log().Warn("key service", "provider", scheme, "error", err)
	a.failed.tell(scheme, err)
}

// failures leads errors of key services to whoever counts them, once somebody
// does.
type failures struct {
	mu sync.Mutex
	to func(scheme string, err error)
}

func (f *failures) set(to func(scheme string, err error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = to
}

func (f *failures) tell(scheme string, err error) {
	if f == nil {
		return
	}
	f.mu.Lock()
	to := f.to
	f.mu.Unlock()
	if to != nil {
		to(scheme, err)
	}
}

// masterKeyFile is where the local KEK is.
func (a *app) masterKeyFile() (string, error) {
	if name := a.cfg.KMS.Local.Credential; name != "" {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" || filepath.Base(name) != name {
			return "", usagef("kms: local: credential %q: no systemd credential of that name here", name)
		}
		return filepath.Join(dir, name), nil
	}
	if a.cfg.MasterKey != "" {
		return a.cfg.MasterKey, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", usagef("no place for the local KEK: %v; --master-key", err)
	}
	return filepath.Join(dir, "rekey", "master.key"), nil
}
