//go:build !pkcs11 || !cgo

package pkcs11

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/kms"
)

var _ kms.Provider = (*Provider)(nil)

func TestNewSaysHowToBuild(t *testing.T) {
	p, err := New(t.Context(), Options{})
	if p != nil || !errors.Is(err, ErrNotBuilt) || !errors.Is(err, kms.ErrDenied) || kms.Passes(err) {
		t.Fatalf("New: %v, %v; want ErrNotBuilt, which is ErrDenied", p, err)
	}
	if !strings.Contains(err.Error(), "-tags pkcs11") {
		t.Errorf("the error does not say how to build: %v", err)
	}
}
