package kms

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

// Set leads each KEK id to the provider of its scheme, so that records under
// several services can be read side by side. A scheme without a provider is
// ErrNotFound.
type Set map[string]Provider

func (s Set) of(kek string) (Provider, error) {
	if p, ok := s[Scheme(kek)]; ok {
		return p, nil
	}
	return nil, fmt.Errorf("%w: no provider of %q is configured", ErrNotFound, kek)
}

// Wrap is the provider's.
func (s Set) Wrap(ctx context.Context, kek string, kid key.KID, k key.ContentKey) ([]byte, error) {
	p, err := s.of(kek)
	if err != nil {
		return nil, err
	}
	return p.Wrap(ctx, kek, kid, k)
}

// Unwrap is the provider's.
func (s Set) Unwrap(ctx context.Context, kek string, kid key.KID, wrapped []byte) (key.ContentKey, error) {
	p, err := s.of(kek)
	if err != nil {
		return key.ContentKey{}, err
	}
	return p.Unwrap(ctx, kek, kid, wrapped)
}

// Create makes a KEK with the provider of a scheme.
func (s Set) Create(ctx context.Context, scheme, name string) (string, error) {
	p, ok := s[scheme]
	if !ok {
		return "", fmt.Errorf("create KEK: %w: no provider %q is configured", ErrNotFound, scheme)
	}
	return p.Create(ctx, name)
}

// Describe is the provider's.
func (s Set) Describe(ctx context.Context, kek string) (Description, error) {
	p, err := s.of(kek)
	if err != nil {
		return Description{}, err
	}
	return p.Describe(ctx, kek)
}

// Disable is the provider's.
func (s Set) Disable(ctx context.Context, kek string) error {
	p, err := s.of(kek)
	if err != nil {
		return err
	}
	return p.Disable(ctx, kek)
}

// Enable is the provider's.
func (s Set) Enable(ctx context.Context, kek string) error {
	p, err := s.of(kek)
	if err != nil {
		return err
	}
	return p.Enable(ctx, kek)
}

// ScheduleDestruction is the provider's.
func (s Set) ScheduleDestruction(ctx context.Context, kek string) (time.Time, error) {
	p, err := s.of(kek)
	if err != nil {
		return time.Time{}, err
	}
	return p.ScheduleDestruction(ctx, kek)
}
