package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
)

// StartLocal runs a Redis inside this process until ctx ends. End it after the
// servers and clients that use it.
func StartLocal(ctx context.Context) (asynq.RedisConnOpt, error) {
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start in-process Redis: %w", err)
	}
	go func() {
		defer m.Close()
		const step = time.Second
		t := time.NewTicker(step)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				// miniredis keys do not expire by themselves.
				m.FastForward(step)
			}
		}
	}()
	return asynq.RedisClientOpt{Addr: m.Addr()}, nil
}
