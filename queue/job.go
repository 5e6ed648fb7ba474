package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// ErrUnavailable is the class of an error that Redis gave: the job may or may
// not be queued, and queueing it again is harmless.
var ErrUnavailable = errors.New("queue unavailable")

// Part names one part of one asset of one rotation: the unit of queued work.
type Part struct {
	Rotation string `json:"rotation"`
	Asset    string `json:"asset"`
	Part     int    `json:"part"`
	// Generation and Again make the job's name new where the queue may hold an
	// old one for ever.
	Generation int `json:"generation"`
	Again      int `json:"again,omitempty"`
}

func (p Part) taskID() string {
	return fmt.Sprintf("%s/%s/%d@%d.%d", p.Rotation, p.Asset, p.Part, p.Generation, p.Again)
}

// Tick pokes a policy: look whether a run is due.
type Tick struct {
	Policy string `json:"policy"`
}

const (
	typePart = "rekey:part"
	typeTick = "rekey:tick"
)

// The queues, most urgent first.
const (
	Urgent  = "compromise"
	Planned = "scheduled"
	Ticks   = "ticks"
)

const (
	// partTimeout bounds one run of one part: asynq's own default, stated.
	partTimeout = 30 * time.Minute
	partRetries = 12
)

// Open reads a redis:// URL or host:port.
func Open(address string) (asynq.RedisConnOpt, error) {
	if opt, err := redis.ParseURL(address); err == nil {
		return asynq.RedisClientOpt{
			Addr: opt.Addr, Username: opt.Username, Password: opt.Password,
			DB: opt.DB, TLSConfig: opt.TLSConfig,
		}, nil
	}
	if address == "" {
		return nil, errors.New("open queue: no Redis address")
	}
	return asynq.RedisClientOpt{Addr: address}, nil
}

// Client queues jobs.
type Client struct{ c *asynq.Client }

// NewClient connects when first used.
func NewClient(r asynq.RedisConnOpt) *Client { return &Client{c: asynq.NewClient(r)} }

// Close releases the connection.
func (c *Client) Close() error { return c.c.Close() }

// Ping reports whether Redis answers; ErrUnavailable where not.
func (c *Client) Ping() error {
	if err := c.c.Ping(); err != nil {
		return fmt.Errorf("reach queue: %w: %w", ErrUnavailable, err)
	}
	return nil
}

// Enqueue queues a part on the named queue. A part that is queued already, in
// the same generation, is left as it is and is no error.
func (c *Client) Enqueue(ctx context.Context, queue string, p Part) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode part: %w", err)
	}
	_, err = c.c.EnqueueContext(ctx, asynq.NewTask(typePart, b),
		asynq.Queue(queue), asynq.TaskID(p.taskID()),
		asynq.MaxRetry(partRetries), asynq.Timeout(partTimeout))
	switch {
	case err == nil, errors.Is(err, asynq.ErrTaskIDConflict):
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("queue part: %w", ctx.Err())
	default:
		return fmt.Errorf("queue part: %w: %w", ErrUnavailable, err)
	}
}
