//go:build !fipsonly

package main

import (
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/keyring/speke"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/worker"
)

// rotationClasses are the classes of what rotations give.
func rotationClasses() []class {
	return []class{
		{rotation.ErrNoHandover, "no-handover", exitUsage},
		{rotation.ErrUnknown, "unknown", exitFailed}, {rotation.ErrNothing, "nothing", exitNothing},
		{rotation.ErrLeased, "leased", exitFailed}, {rotation.ErrPlanning, "planning", exitFailed}, {rotation.ErrStale, "stale", exitFailed},
		{rotation.ErrPaused, "paused", exitFailed}, {rotation.ErrCancelled, "cancelled", exitFailed}, {rotation.ErrPhase, "phase", exitFailed}, {rotation.ErrFenced, "fenced", exitFailed},
		{journal.ErrNoRotation, "no-rotation", exitFailed}, {journal.ErrCorrupt, "corrupt", exitFailed},
		{speke.ErrAsk, "usage", exitUsage}, {speke.ErrRefused, "key-service-refused", exitFailed},
		{speke.ErrUnavailable, "key-service-unavailable", exitFailed}, {speke.ErrContract, "key-service-contract", exitFailed},
		{worker.ErrWrongKey, "wrong-key", exitFailed},
		{queue.ErrUnavailable, "queue-unavailable", exitFailed},
	}
}
