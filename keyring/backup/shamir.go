package backup

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"
)

// split makes a new secret and its n shares of which k open it, with the
// commitments of the manifest.
func split(k, n int) (secret *[32]byte, values [][]byte, commitments [][]byte, err error) {
	scalar := group.P256.RandomNonZeroScalar(rand.Reader)
	// circl counts the shares that are not enough.
	polynomial := secretsharing.New(rand.Reader, uint(k-1), scalar)
	points := polynomial.CommitSecret()
	for _, p := range points {
		b, err := p.MarshalBinaryCompress()
		if err != nil {
			return nil, nil, nil, fmt.Errorf("commit to shares: %w", err)
		}
		commitments = append(commitments, b)
	}
	for _, s := range polynomial.Share(uint(n)) {
		if !secretsharing.Verify(uint(k-1), s, points) {
			return nil, nil, nil, errors.New("split master: a share does not fit its commitments")
		}
		b, err := s.Value.MarshalBinary()
		if err != nil {
			return nil, nil, nil, fmt.Errorf("split master: %w", err)
		}
		values = append(values, b)
	}
	secret, err = scalarBytes(scalar)
	return secret, values, commitments, err
}

func scalarBytes(s group.Scalar) (*[32]byte, error) {
	b, err := s.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encode scalar: %w", err)
	}
	defer clear(b)
	if len(b) != 32 {
		return nil, fmt.Errorf("encode scalar: %d bytes", len(b))
	}
	return (*[32]byte)(append([]byte(nil), b...)), nil
}

// point is a share as circl takes it.
func (s Share) point() (secretsharing.Share, error) {
	p := secretsharing.Share{ID: group.P256.NewScalar().SetUint64(uint64(s.Number)), Value: group.P256.NewScalar()}
	if err := p.Value.UnmarshalBinary(s.value()[:]); err != nil {
		return secretsharing.Share{}, errors.New("value is not a scalar of P-256")
	}
	return p, nil
}

// fits checks a share against the commitments (Feldman 1987 §4).
func (h *Header) fits(s Share) error {
	points, err := h.Manifest.points()
	if err != nil {
		return fault(ErrSyntax, "manifest", -1, "%v", err)
	}
	p, err := s.point()
	if err != nil {
		return fault(ErrShare, h.share(s.Number), -1, "%v", err)
	}
	if !secretsharing.Verify(uint(h.Manifest.Threshold-1), p, points) {
		return fault(ErrShare, h.share(s.Number), -1, "does not fit the commitments of the manifest")
	}
	return nil
}

// Combine puts the master together. Every share is checked, also those beyond k:
// ErrForeign, ErrRepeated and ErrShare name the share, ErrTooFew the numbers.
func (h *Header) Combine(shares []Share) (*Master, error) {
	secret, err := h.combine(shares)
	if err != nil {
		return nil, fmt.Errorf("combine shares: %w", err)
	}
	return newMaster(h, secret), nil
}

func (h *Header) combine(shares []Share) (*[32]byte, error) {
	k := h.Manifest.Threshold
	seen := map[int]bool{}
	points := make([]secretsharing.Share, 0, len(shares))
	for i, s := range shares {
		switch {
		case s.value == nil || s.Number < 1:
			return nil, fault(ErrShare, fmt.Sprintf("share given as number %d", i+1), -1, "was never opened")
		case s.manifest != h.manifest:
			return nil, fault(ErrForeign, s.String(), -1, "is of %.4x…, this is %.4x…", s.manifest, h.manifest)
		case seen[s.Number]:
			return nil, fault(ErrRepeated, h.share(s.Number), -1, "%d different ones are needed", k)
		}
		seen[s.Number] = true
		if err := h.fits(s); err != nil {
			return nil, err
		}
		p, err := s.point()
		if err != nil {
			return nil, err
		}
		points = append(points, p)
	}
	if len(points) < k {
		return nil, fmt.Errorf("%w: %d, the backup needs %d of %d", ErrTooFew, len(points), k, len(h.Manifest.Holders))
	}
	scalar, err := secretsharing.Recover(uint(k-1), points)
	if err != nil {
		return nil, err
	}
	return scalarBytes(scalar)
}
