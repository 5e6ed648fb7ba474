package audit

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

const (
	logPrefix      = "audit/log/"
	stateName      = logPrefix + "state.json"
	latestName     = logPrefix + "checkpoint"
	historyPrefix  = logPrefix + "checkpoints/"
	stateVersion   = 1
	maxState       = 64 << 20
	maxOpenStreams = 4096 // what a sequencer follows at once
)

// state is what the sequencer knows. Every change of it is one conditional
// write, which is what keeps two sequencers from making two trees: the order of
// the records is decided by the write that puts them in Pending, and everything
// written after that follows from it, byte for byte.
type state struct {
	Version int `json:"version"`
	// Checkpoint is the newest signed one; empty before the first.
	Checkpoint string `json:"checkpoint,omitempty"`
	Lease      lease  `json:"lease"`
	// Listed is when the newest heads, Swept when all of them were last listed.
	Listed  time.Time `json:"listed"`
	Swept   time.Time `json:"swept"`
	Streams []cursor  `json:"streams,omitempty"`
	// Pending are entries that have their place, after the checkpoint's, but are
	// not in the tree yet.
	Pending [][]byte `json:"pending,omitempty"`
}

type lease struct {
	Owner string    `json:"owner"`
	Until time.Time `json:"until"`
}

// cursor is how far a stream has been read.
type cursor struct {
	Stream string `json:"stream"`
	Next   int64  `json:"next"` // number of the next entry
	Prev   string `json:"prev,omitempty"`
	// Seen is when it last had something new.
	Seen   time.Time `json:"seen"`
	Closed bool      `json:"closed,omitempty"`

	broken bool // in this pass it could not be read further
}

func (st state) check() error {
	if st.Version != stateVersion {
		return fmt.Errorf("version %d, want %d", st.Version, stateVersion)
	}
	if st.Checkpoint != "" {
		if _, err := unsignedCheckpoint([]byte(st.Checkpoint)); err != nil {
			return err
		}
	}
	for i, c := range st.Streams {
		if _, ok := streamBegan(c.Stream); !ok {
			return errors.New("a stream has no valid id")
		}
		if i > 0 && st.Streams[i-1].Stream >= c.Stream {
			return errors.New("streams are not in order")
		}
		if b, err := hex.DecodeString(c.Prev); err != nil || c.Next < 0 || c.Next > maxSeq+1 || (len(b) == 32) != (c.Next > 0) {
			return fmt.Errorf("stream %s: no valid number or hash", c.Stream)
		}
	}
	for i, b := range st.Pending {
		if len(b) == 0 || len(b) > maxEntry {
			return fmt.Errorf("pending entry %d has %d bytes", i, len(b))
		}
	}
	return nil
}

func decodeState(b []byte) (*state, error) {
	var st state
	if err := decodeJSON(stateName, b, &st); err != nil {
		return nil, err
	}
	if err := st.check(); err != nil {
		return nil, corrupt(stateName, "%v", err)
	}
	return &st, nil
}

// loadState reads the state and its ETag; both are empty before the first.
func loadState(ctx context.Context, s store.Getter) (*state, string, error) {
	b, info, err := store.ReadAll(ctx, s, stateName, "", maxState, nil)
	if errors.Is(err, store.ErrNotFound) {
		return &state{Version: stateVersion}, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read sequencer's state: %w", err)
	}
	st, err := decodeState(b)
	return st, info.ETag, err
}

// save writes the state over the one with the ETag.
func (st *state) save(ctx context.Context, s store.Writer, etag string) (string, error) {
	b, err := json.Marshal(st)
	if err != nil {
		return "", fmt.Errorf("write sequencer's state: %w", err)
	}
	if len(b) > maxState {
		return "", fmt.Errorf("write sequencer's state: %w: %d bytes", store.ErrTooLarge, len(b))
	}
	info, err := s.Put(ctx, stateName, b, store.PutOptions{
		IfMatch: etag, CreateOnly: etag == "", Attributes: store.Attributes{ContentType: "application/json"},
	})
	if err != nil {
		return "", fmt.Errorf("write sequencer's state: %w", err)
	}
	return info.ETag, nil
}
