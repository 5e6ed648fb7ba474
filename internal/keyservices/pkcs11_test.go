//go:build pkcs11 && cgo

package keyservices

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/kms/pkcs11"
)

// tags are the build tags of the program under test.
var tags = []string{"-tags", "pkcs11"}

// tokens are the cases that need PKCS#11.
func tokens() []testCase {
	return []testCase{{name: "pkcs11", alone: true, start: softHSM}}
}

// softHSM is a token of SoftHSM2. The library is finalized in this process when
// the test ends.
func softHSM(t *testing.T, ctx context.Context, _ string) service {
	h := services.NewSoftHSM(t)
	t.Cleanup(func() {
		if err := p11.New(h.Module).Finalize(); err != nil {
			t.Errorf("finalize module: %v", err)
		}
	})
	client, err := pkcs11.New(ctx, pkcs11.Options{Module: h.Module, Token: h.Token, PINFile: h.PINFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return service{
		scheme: pkcs11.Scheme, config: []string{fmt.Sprintf("pkcs11: {module: %q, token: %q, pin_file: %q}", h.Module, h.Token, h.PINFile)},
		secrets: map[string]string{"PIN": h.PIN},
		client:  client,
		files:   []string{filepath.Join(filepath.Dir(h.Config), "tokens")},
		blind:   true,
	}
}
