package main

import (
	"context"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
)

// mayAlone refuses what needs a second person where roles are in force, that is,
// where there are identities: it then goes through rekey serve. The refusal is on
// record. Whoever holds the credentials of the store and the key service can do
// without this program; it is the program's promise, not the store's.
func (k *keyroom) mayAlone(ctx context.Context, what string) error {
	for _, err := range k.control.List(ctx, "identities/") {
		if err != nil {
			return err
		}
		err = fmt.Errorf("%s: %w: roles are in force here: --server", what, errApproval)
		e := audit.Record{Action: audit.RoleRefuse, Object: what, Outcome: audit.Refused, Reason: err.Error()}
		return joinRecord(err, k.audit.Append(ctx, e))
	}
	return nil
}
