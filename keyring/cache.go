package keyring

import (
	"context"
	"sync"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
)

// CacheOptions bound a Cache.
type CacheOptions struct {
	// Keys is how many are kept at most. Zero: 256.
	Keys int
	// For is how long one is kept after it was opened. Zero: 5 minutes.
	For time.Duration
}

// Cache keeps opened keys for the parts of one rotation, so that a part does not
// cost a call of the key service for each key. A key is kept for the rotation
// and the use it was opened for, and its state is looked at each time: what
// became forbidden is refused at once. That it was opened is on the audit log;
// that it was taken from the cache is not.
//
// Keys are dropped when their time is up, when there are too many, and when
// their rotation is dropped. Dropping overwrites the entry; copies that the
// runtime or AES key schedules made are not within reach, and are overwritten
// when their memory is used again.
type Cache struct {
	ring *Ring
	o    CacheOptions
	mu   sync.Mutex
	kept map[cached]*keptKey
	// drops counts what may have meant a key that is being opened: that one is
	// not kept.
	drops  int
	closed bool
}

type cached struct {
	kid      key.KID
	use      Use // "": a secret
	rotation string
}

type keptKey struct {
	k     key.ContentKey
	until time.Time
}

// NewCache returns an empty cache over a worker's ring.
func NewCache(r *Ring, o CacheOptions) *Cache {
	if o.Keys == 0 {
		o.Keys = 256
	}
	if o.For == 0 {
		o.For = 5 * time.Minute
	}
	return &Cache{ring: r.AsWorker(), o: o, kept: map[cached]*keptKey{}}
}

// Unwrap is Ring.Unwrap, but for keys that are kept.
func (c *Cache) Unwrap(ctx context.Context, kid key.KID, use Use, rotation string) (key.ContentKey, error) {
	at := cached{kid, use, rotation}
	k, ok := c.get(at)
	if !ok || rotation == "" {
		return c.fill(at, func() (key.ContentKey, error) { return c.ring.Unwrap(ctx, kid, use, rotation) })
	}
	e := audit.Record{Action: audit.KeyUnwrap, KID: kid.String(), Rotation: rotation, Reason: "use " + string(use)}
	if _, err := c.ring.permit(ctx, e, kid, use); err != nil {
		c.drop(func(have cached) bool { return have == at })
		return key.ContentKey{}, err
	}
	return k, nil
}

// OpenSecret is Ring.OpenSecret, but for secrets that are kept. rotation is whose
// secret it is.
func (c *Cache) OpenSecret(ctx context.Context, kid key.KID, rotation string) (key.ContentKey, error) {
	at := cached{kid, "", rotation}
	if k, ok := c.get(at); ok {
		return k, nil
	}
	return c.fill(at, func() (key.ContentKey, error) {
		return c.ring.OpenSecret(ctx, kid, "secret of rotation "+rotation)
	})
}

// Drop forgets the keys of a rotation that is over.
func (c *Cache) Drop(rotation string) {
	c.drop(func(have cached) bool { return have.rotation == rotation })
}

// Sweep forgets the keys of rotations that are over, and those whose time is up;
// it reports whether there were any. over says of a rotation whether it is; one
// of which it cannot be told is taken for open.
func (c *Cache) Sweep(ctx context.Context, over func(ctx context.Context, rotation string) (bool, error)) (dropped bool) {
	c.mu.Lock()
	dropped = c.expire()
	rotations := map[string]bool{}
	for at := range c.kept {
		rotations[at.rotation] = true
	}
	c.mu.Unlock()
	for r := range rotations {
		if ended, err := over(ctx, r); err == nil && ended {
			c.Drop(r)
			dropped = true
		}
	}
	return dropped
}

// Empty reports that no key is kept.
func (c *Cache) Empty() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.kept) == 0
}

// Close forgets all keys, and keeps none from then on.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.drop(func(cached) bool { return true })
}

// expire forgets what is too old; c.mu is held.
func (c *Cache) expire() (found bool) {
	now := c.ring.o.Clock()
	for have, e := range c.kept {
		if !now.Before(e.until) {
			c.forget(have)
			found = true
		}
	}
	return found
}

func (c *Cache) get(at cached) (key.ContentKey, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	e, ok := c.kept[at]
	if !ok {
		return key.ContentKey{}, false
	}
	return e.k, true
}

func (c *Cache) fill(at cached, open func() (key.ContentKey, error)) (key.ContentKey, error) {
	c.mu.Lock()
	drops := c.drops
	c.mu.Unlock()
	k, err := open()
	if err != nil || at.rotation == "" {
		return k, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.drops != drops {
		return k, nil
	}
	if _, ok := c.kept[at]; ok {
		c.forget(at)
	}
	for have := range c.kept {
		if len(c.kept) < c.o.Keys {
			break
		}
		c.forget(have) // any one: it costs a call
	}
	c.kept[at] = &keptKey{k, c.ring.o.Clock().Add(c.o.For)}
	return k, nil
}

func (c *Cache) drop(which func(cached) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops++
	for have := range c.kept {
		if which(have) {
			c.forget(have)
		}
	}
}

// forget overwrites and removes an entry; c.mu is held.
func (c *Cache) forget(at cached) {
	c.kept[at].k = key.ContentKey{}
	delete(c.kept, at)
}
