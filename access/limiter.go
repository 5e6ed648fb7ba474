package access

import (
	"net/netip"
	"sync"
	"time"
)

const (
	freeFailures = 5                // before an address has to wait
	firstWait    = time.Second      // after them; each next is twice as long
	longestWait  = time.Minute      //
	forgetAfter  = 10 * time.Minute // without a failure
	maxAddresses = 4096

	recordEvery = time.Second // on average, at most one failure a second is on record
	recordBurst = 60
)

// Limiter slows down who fails to authenticate, by address. Tokens cannot be
// guessed at any speed; what it spares is the store and the log. It is safe for
// concurrent use, and holds no more than a few thousand addresses: of more, those
// that failed longest ago are forgotten.
type Limiter struct {
	clock func() time.Time

	mu sync.Mutex
	// Addresses are in one of the two. When recent is half of what may be held it
	// becomes earlier, and what was that is forgotten.
	recent, earlier map[string]failures
	// budget is how many failures may go on record now, filled up to filled.
	budget     int
	filled     time.Time
	unrecorded int // since the last that did
}

type failures struct {
	count int
	last  time.Time
}

// NewLimiter has seen no one fail.
func NewLimiter(clock func() time.Time) *Limiter {
	return &Limiter{clock: clock, recent: map[string]failures{}, budget: recordBurst, filled: clock()}
}

// Wait is how long whoever comes from origin has to wait before they may try.
func (l *Limiter) Wait(origin string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.find(bucket(origin))
	return max(0, wait(f.count)-l.clock().Sub(f.last))
}

func wait(count int) time.Duration {
	over := count - freeFailures
	switch {
	case over < 0:
		return 0
	case over > 10:
		return longestWait
	default:
		return min(firstWait<<over, longestWait)
	}
}

// Failed counts a failure. It says whether this one should go on record, and how
// many before it did not.
func (l *Limiter) Failed(origin string) (record bool, unrecorded int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, name := l.clock(), bucket(origin)
	f := l.find(name)
	if now.Sub(f.last) >= forgetAfter {
		f.count = 0
	}
	l.keep(name, failures{count: min(f.count+1, 1<<20), last: now})

	if n := int(now.Sub(l.filled) / recordEvery); n > 0 {
		l.budget = min(l.budget+n, recordBurst)
		l.filled = l.filled.Add(time.Duration(n) * recordEvery)
	}
	if l.budget == 0 {
		l.unrecorded++
		return false, 0
	}
	l.budget--
	unrecorded, l.unrecorded = l.unrecorded, 0
	return true, unrecorded
}

// Succeeded forgets an address's failures.
func (l *Limiter) Succeeded(origin string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.recent, bucket(origin))
	delete(l.earlier, bucket(origin))
}

func (l *Limiter) find(name string) failures {
	if f, ok := l.recent[name]; ok {
		return f
	}
	return l.earlier[name]
}

func (l *Limiter) keep(name string, f failures) {
	if _, known := l.recent[name]; !known && len(l.recent) >= maxAddresses/2 {
		l.earlier, l.recent = l.recent, map[string]failures{}
	}
	delete(l.earlier, name)
	l.recent[name] = f
}

// bucket is whom an address stands for: in IPv6 whoever has one has 2^64 of them.
func bucket(origin string) string {
	a, err := netip.ParseAddr(origin)
	if err != nil {
		return "" // no address: all of those together
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, err := a.Prefix(64)
		if err == nil {
			a = p.Addr()
		}
	}
	return a.String()
}
