package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/store"
)

// signerName is what a signing key that is made here is called.
const signerName = "rekey-audit"

// openSigner opens the signing key in a file. It makes one only where nothing in
// the control store is signed yet: a key that is made because its file's name was
// mistyped would sign what nobody trusts.
func openSigner(ctx context.Context, control store.Store, file, name string) (*audit.Signer, error) {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		signed, err := firstSigned(ctx, control)
		if err != nil {
			return nil, err
		}
		if signed != "" {
			return nil, usagef("no signing key in %s, and %s is signed by one: name the file that it is in", file, signed)
		}
	}
	s, err := audit.OpenOrCreateSigner(file, name)
	if errors.Is(err, audit.ErrSigner) {
		return nil, usagef("%v", err)
	}
	return s, err
}

// firstSigned is an object that a signing key has signed; empty where there is
// none.
func firstSigned(ctx context.Context, control store.Store) (string, error) {
	for _, prefix := range []string{"identities/", "audit/log/checkpoint"} {
		for info, err := range control.List(ctx, prefix) {
			if err != nil {
				return "", fmt.Errorf("look for what is signed: %w", err)
			}
			return info.Key, nil
		}
	}
	return "", nil
}
