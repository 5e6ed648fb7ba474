package main

import (
	"errors"
	"os"
	"strings"

	"github.com/seed-6133abe0/rekey/keyring"
)

// keyServiceConfig is a key service that speaks SPEKE v2 or takes CPIX.
type keyServiceConfig struct {
	// Endpoint is an https URL, or http to loopback. Zero: no key service.
	Endpoint string `yaml:"endpoint"`
	// Mode is ask, where the service makes the new CENC keys and their DRM data,
	// or push, where rekey makes them and the service is handed them as CPIX.
	Mode string `yaml:"mode"`
	// Systems are the UUIDs of the DRM systems whose data is asked for.
	Systems []string `yaml:"systems"`
	// TokenFile holds a bearer token, BasicFile name:password; SigV4Region signs
	// as AWS's API Gateway asks. Zero: no authentication.
	TokenFile   string `yaml:"token_file"`
	BasicFile   string `yaml:"basic_file"`
	SigV4Region string `yaml:"sigv4_region"`
	// Certificate and PrivateKey (PEM) are this side's: keys then come encrypted
	// to it. ProviderCertificate is what pushed keys are encrypted to. Zero: keys
	// are in the clear inside TLS.
	Certificate         string `yaml:"certificate"`
	PrivateKey          string `yaml:"private_key"`
	ProviderCertificate string `yaml:"provider_certificate"`
	// Timeout is of one attempt; there are three. Zero: 30s.
	Timeout keyring.Age `yaml:"timeout"`
}

func (c *keyServiceConfig) check() error {
	auth := 0
	for _, s := range []string{c.TokenFile, c.BasicFile, c.SigV4Region} {
		if s != "" {
			auth++
		}
	}
	switch {
	case c.Endpoint == "" && auth+len(c.Systems) == 0 && c.Timeout == 0 && c.Mode+c.Certificate+c.PrivateKey+c.ProviderCertificate == "":
		return nil
	case c.Endpoint == "":
		return errors.New("key_service: no endpoint")
	case c.Mode != "ask" && c.Mode != "push":
		return errors.New("key_service: mode is not ask or push")
	case c.Mode == "ask" && len(c.Systems) == 0:
		return errors.New("key_service: mode ask needs systems")
	case c.Timeout < 0:
		return errors.New("key_service: timeout is negative")
	case auth > 1:
		return errors.New("key_service: one of token_file, basic_file and sigv4_region")
	case (c.Certificate == "") != (c.PrivateKey == ""):
		return errors.New("key_service: certificate and private_key go together")
	}
	return nil
}

// readSecretFile reads a secret of one line that only its owner may read.
func readSecretFile(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", usagef("read secret: %v", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", usagef("read secret: %s: mode %04o lets group or others in, want 0600", name, info.Mode().Perm())
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", usagef("read secret: %v", err)
	}
	defer clear(b)
	s := strings.TrimSpace(string(b))
	if s == "" || len(s) > 4<<10 {
		return "", usagef("read secret: %s is empty or longer than 4 KiB", name)
	}
	return s, nil
}
