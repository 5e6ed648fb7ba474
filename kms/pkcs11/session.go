//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"sync"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-6133abe0/rekey/kms"
)

// pool hands out sessions of one token, logged in, one to a caller: a session
// does one thing at a time (PKCS#11 v2.40 usage guide §2.6.7).
type pool struct {
	lib  cryptoki
	o    Options
	busy chan struct{} // holds one for each session that is handed out

	mu     sync.Mutex
	idle   []p11.SessionHandle
	closed bool

	login   sync.Mutex // one login at a time: each wrong one counts
	refused error      // of the token, for the PIN
}

func newPool(lib cryptoki, o Options) *pool {
	return &pool{lib: lib, o: o, busy: make(chan struct{}, o.Sessions)}
}

// with calls do with a session. If that is found to be gone, do is called once
// more with a new one: it must bear that.
func (p *pool) with(ctx context.Context, do func(p11.SessionHandle) error) error {
	err := p.once(ctx, do)
	if isLost(err) {
		p.drop()
		err = p.once(ctx, do)
	}
	return err
}

// once is with, for what must not be done twice.
func (p *pool) once(ctx context.Context, do func(p11.SessionHandle) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.busy <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.busy }()
	s, err := p.take()
	if err != nil {
		return err
	}
	if err = ctx.Err(); err == nil { // opening one may have taken long
		err = do(s)
	}
	p.give(s, leavesSession(err))
	return err
}

func (p *pool) take() (p11.SessionHandle, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return 0, fmt.Errorf("%w: provider is closed", kms.ErrDenied)
	}
	if n := len(p.idle); n > 0 {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return s, nil
	}
	p.mu.Unlock()
	return p.open()
}

func (p *pool) give(s p11.SessionHandle, sound bool) {
	p.mu.Lock()
	keep := sound && !p.closed
	if keep {
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if !keep {
		_ = p.lib.CloseSession(s) // it may be gone already
	}
}

// drop closes the sessions that nobody is using.
func (p *pool) drop() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, s := range idle {
		_ = p.lib.CloseSession(s) // it may be gone already
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop()
}

// open makes a session that is logged in. As long as it is open the process stays
// logged in, whatever others close.
func (p *pool) open() (p11.SessionHandle, error) {
	p.login.Lock()
	defer p.login.Unlock()
	if p.refused != nil {
		return 0, p.refused
	}
	if err := p.lib.Initialize(); err != nil && code(err) != p11.CKR_CRYPTOKI_ALREADY_INITIALIZED {
		return 0, fmt.Errorf("initialize module: %w", err)
	}
	slot, err := p.slot()
	if err != nil {
		return 0, err
	}
	s, err := p.lib.OpenSession(slot)
	if err != nil {
		return 0, fmt.Errorf("open session: %w", err)
	}
	if err := p.logIn(s); err != nil {
		_ = p.lib.CloseSession(s) // the login's error says more
		return 0, err
	}
	return s, nil
}

func (p *pool) logIn(s p11.SessionHandle) error {
	pin, err := readPIN(p.o.PINFile)
	if err != nil {
		return err
	}
	defer clear(pin)
	err = p.lib.Login(s, string(pin))
	if err == nil || code(err) == p11.CKR_USER_ALREADY_LOGGED_IN {
		return nil
	}
	err = fmt.Errorf("log in to token %q: %w", p.o.Token, err)
	if isPINRefused(err) {
		p.refused = fmt.Errorf("%w: %w (not tried again by this process)", kms.ErrDenied, err)
		return p.refused
	}
	return err
}

// slot finds the token, which may have moved since the last time.
func (p *pool) slot() (uint, error) {
	list, err := p.lib.GetSlotList()
	if err != nil {
		return 0, fmt.Errorf("list slots: %w", err)
	}
	var found []uint
	var flags uint
	var bad error
	for _, slot := range list {
		info, err := p.lib.GetTokenInfo(slot)
		if err != nil { // another's token, perhaps
			bad = errors.Join(bad, fmt.Errorf("look at slot %d: %w", slot, err))
			continue
		}
		if info.Label == p.o.Token && (p.o.Serial == "" || info.SerialNumber == p.o.Serial) {
			found, flags = append(found, slot), info.Flags
		}
	}
	switch {
	case len(found) == 0 && bad != nil:
		return 0, bad
	case len(found) == 0:
		return 0, fmt.Errorf("%w: none of %d tokens is %q", kms.ErrUnavailable, len(list), p.o.Token)
	case len(found) > 1:
		return 0, fmt.Errorf("%w: %d tokens are labelled %q: give the serial number", kms.ErrDenied, len(found), p.o.Token)
	case flags&(p11.CKF_USER_PIN_LOCKED|p11.CKF_USER_PIN_FINAL_TRY) != 0:
		p.refused = fmt.Errorf("%w: PIN of token %q is locked, or would be after one more that is wrong", kms.ErrDenied, p.o.Token)
		return 0, p.refused
	}
	return found[0], nil
}
