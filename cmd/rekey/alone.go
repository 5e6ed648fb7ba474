package main

import (
	"context"
	"fmt"
)

// mayAlone refuses what needs a second person where roles are in force, that is,
// where there are identities: it then goes through rekey serve. Whoever holds the
// credentials of the store and the key service can do without this program; it
// is the program's promise, not the store's.
func (k *keyroom) mayAlone(ctx context.Context, what string) error {
	for _, err := range k.control.List(ctx, "identities/") {
		if err != nil {
			return err
		}
		return fmt.Errorf("%s: %w: roles are in force here: --server", what, errApproval)
	}
	return nil
}
