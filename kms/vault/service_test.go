package vault_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-6133abe0/rekey/kms/vault/vaulttest"
)

const rootToken = vaulttest.RootToken

// service is the stand-in for Vault.
type service struct{ *vaulttest.Service }

func newService(t *testing.T) *service {
	t.Helper()
	return &service{vaulttest.New(t)}
}

// file writes a file for a client.
func file(t *testing.T, mode os.FileMode, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return name
}

func (s *service) caFile(t *testing.T) string { return file(t, 0o644, string(s.CA())) }
