package journal

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

// planningTime is how long a rotation may take to be planned. One that still is
// after that has died, and touched nothing.
const planningTime = 24 * time.Hour

// Using names a rotation that is not over and rotates the key, or makes it; empty
// where there is none. It reads the plans of open rotations.
func (j *Journal) Using(ctx context.Context, kid key.KID, now time.Time) (rotation string, err error) {
	for id, err := range j.Rotations(ctx) {
		if err != nil {
			return "", err
		}
		s, _, err := j.State(ctx, id)
		if err != nil {
			return "", fmt.Errorf("look for rotations of key %s: %w", kid, err)
		}
		if s.Phase.Final() || s.Phase == Planning && now.Sub(s.Created) > planningTime {
			continue
		}
		if slices.Contains(s.KIDs, kid) {
			return id, nil
		}
		for p, err := range j.Plans(ctx, id) {
			if err != nil {
				return "", fmt.Errorf("look for rotations of key %s: %w", kid, err)
			}
			if slices.ContainsFunc(p.Keys, func(c KeyChange) bool { return c.OldKID == kid || c.NewKID == kid }) {
				return id, nil
			}
		}
	}
	return "", nil
}
