package restore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"

	"github.com/seed-6133abe0/rekey/keyring/backup"
	"github.com/seed-6133abe0/rekey/store"
)

const prefix = "restores/"

// UseCode is the hook of [backup.Master.Unlock] that takes each code of a backup
// once: backup.ErrUsed where it was taken, or an error of the store, after which it
// may be taken all the same.
func UseCode(ctx context.Context, control store.Store, fingerprint string) func(counter uint64) error {
	return func(counter uint64) error {
		return claim(ctx, control, prefix+fingerprint+"/"+strconv.FormatUint(counter, 10), backup.ErrUsed)
	}
}

// Try counts a code that is about to be tried for a request, and says which it
// is, from 1 to [backup.MaxAttempts]. After those it is backup.ErrAttempts, for that
// request for good. It counts before the code is looked at, so that many at once
// are no more than so many in turn, and the right ones too.
func Try(ctx context.Context, control store.Store, fingerprint, request string) (int, error) {
	for n := 1; n <= backup.MaxAttempts; n++ {
		name := fmt.Sprintf("%s%s/tries/%s/%d", prefix, fingerprint, request, n)
		if err := claim(ctx, control, name, backup.ErrAttempts); !errors.Is(err, backup.ErrAttempts) {
			return n, err
		}
	}
	return 0, fmt.Errorf("%w: %d were tried for request %s; ask for another", backup.ErrAttempts, backup.MaxAttempts, request)
}

// claim makes an object that must not be there; taken is the error where it is.
func claim(ctx context.Context, control store.Store, name string, taken error) error {
	// Other bytes each time: what stands there already is never taken for ours.
	_, err := store.PutOnce(ctx, control, name, []byte(rand.Text()+"\n"), store.Attributes{ContentType: "text/plain"})
	if errors.Is(err, store.ErrPrecondition) {
		return taken
	}
	return err
}
