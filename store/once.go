package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	putTries = 6
	putPause = 50 * time.Millisecond // the first wait; each next one is twice as long, half of it random
)

// PutOnce creates an object. Where one stands already it is success if size and
// checksum are those of body, else ErrPrecondition, and what stands stays.
// Attributes are not compared. ErrConflict and ErrUnavailable are tried again a
// few times, with backoff and jitter.
func PutOnce(ctx context.Context, s Store, key string, body []byte, a Attributes) (Info, error) {
	for try := 1; ; try++ {
		info, err := s.Put(ctx, key, body, PutOptions{CreateOnly: true, Attributes: a})
		if errors.Is(err, ErrPrecondition) {
			info, err = ours(ctx, s, key, body, err)
		}
		if err == nil {
			return info, nil
		}
		if try == putTries || (!errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnavailable)) {
			return Info{}, err
		}
		if err := pause(ctx, try); err != nil {
			return Info{}, opError("put", key, err)
		}
	}
}

// ours returns the standing object where it is the one that was to be written,
// else the refusal.
func ours(ctx context.Context, s Store, key string, body []byte, refusal error) (Info, error) {
	info, err := s.Stat(ctx, key)
	if err != nil {
		return Info{}, changed(err, ErrNotFound)
	}
	if info.Size != int64(len(body)) {
		return Info{}, refusal
	}
	sum := CRC64NVME(body)
	if info.CRC64NVME == "" {
		stands, _, err := ReadAll(ctx, s, key, info.ETag, info.Size, nil)
		if err != nil {
			return Info{}, changed(changed(err, ErrNotFound), ErrPrecondition)
		}
		if !bytes.Equal(stands, body) {
			return Info{}, refusal
		}
		info.CRC64NVME = sum
	}
	if info.CRC64NVME != sum {
		return Info{}, refusal
	}
	return info, nil
}

// changed makes an error that says that the object went away, or became another,
// while it was compared one to try again on. Its first class must not show any
// more: the caller would take it for the answer about its own object.
func changed(err, class error) error {
	if errors.Is(err, class) {
		return fmt.Errorf("%w: object changed while it was compared: %v", ErrConflict, err) //nolint:errorlint // see above
	}
	return err
}

// pause waits after the try with the given number. Jitter keeps writers that
// collided from colliding again.
func pause(ctx context.Context, try int) error {
	longest := putPause << (try - 1)
	timer := time.NewTimer(longest/2 + rand.N(longest/2+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
