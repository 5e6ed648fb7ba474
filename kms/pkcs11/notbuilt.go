//go:build !pkcs11 || !cgo

package pkcs11

import (
	"context"
	"fmt"

	"github.com/seed-6133abe0/rekey/kms"
)

// Provider is never made by this build.
type Provider struct{ kms.Provider }

// New returns ErrNotBuilt.
func New(context.Context, Options) (*Provider, error) {
	return nil, fmt.Errorf("open PKCS#11 token: %w", ErrNotBuilt)
}

// Close does nothing.
func (p *Provider) Close() error { return nil }

// String is the scheme.
func (p *Provider) String() string { return Scheme }
