package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hibiken/asynq"
)

// Worker does one part. An error wrapped by Permanent is never retried; any
// other is, with backoff, until the last attempt, of which last tells it.
type Worker interface {
	Work(ctx context.Context, p Part, last bool) error
}

// Ticker looks whether a policy is due, once however often it is poked.
type Ticker interface {
	Tick(ctx context.Context, t Tick) error
}

// Permanent marks an error that no retry can mend.
func Permanent(err error) error { return fmt.Errorf("%w: %w", err, asynq.SkipRetry) }

// ServerOptions set how jobs are run.
type ServerOptions struct {
	// Concurrency is the number of parts worked at once; 0 means 4.
	Concurrency int
	// ShutdownTimeout is how long running parts may go on after the context
	// ends; 0 means 8 s. What is not done by then is queued again.
	ShutdownTimeout time.Duration
	Log             *slog.Logger
}

// Serve runs queued jobs until ctx ends. A nil worker or ticker leaves its jobs
// to others.
func Serve(ctx context.Context, r asynq.RedisConnOpt, w Worker, t Ticker, o ServerOptions) error {
	if o.Concurrency == 0 {
		o.Concurrency = 4
	}
	mux := asynq.NewServeMux()
	queues := map[string]int{}
	if w != nil {
		mux.HandleFunc(typePart, partHandler(w))
		queues[Urgent], queues[Planned] = 3, 2
	}
	if t != nil {
		mux.HandleFunc(typeTick, tickHandler(t))
		queues[Ticks] = 1
	}
	srv := asynq.NewServer(r, asynq.Config{
		Concurrency: o.Concurrency, Queues: queues, StrictPriority: true,
		ShutdownTimeout: o.ShutdownTimeout, RetryDelayFunc: backoff,
		TaskCheckInterval: 200 * time.Millisecond, DelayedTaskCheckInterval: time.Second,
		Logger: logger{o.Log}, LogLevel: asynq.WarnLevel,
		BaseContext: func() context.Context { return context.WithoutCancel(ctx) },
	})
	if err := srv.Start(mux); err != nil {
		return fmt.Errorf("start queue server: %w: %w", ErrUnavailable, err)
	}
	<-ctx.Done()
	srv.Shutdown()
	return nil
}

func partHandler(w Worker) func(context.Context, *asynq.Task) error {
	return func(ctx context.Context, task *asynq.Task) error {
		var p Part
		if err := json.Unmarshal(task.Payload(), &p); err != nil {
			return Permanent(fmt.Errorf("decode part: %w", err))
		}
		tried, _ := asynq.GetRetryCount(ctx)
		limit, _ := asynq.GetMaxRetry(ctx)
		return w.Work(ctx, p, tried >= limit)
	}
}

func tickHandler(t Ticker) func(context.Context, *asynq.Task) error {
	return func(ctx context.Context, task *asynq.Task) error {
		var tick Tick
		if err := json.Unmarshal(task.Payload(), &tick); err != nil {
			return Permanent(fmt.Errorf("decode tick: %w", err))
		}
		return t.Tick(ctx, tick)
	}
}

// backoff is exponential from half a second to a minute, with full jitter.
func backoff(n int, _ error, _ *asynq.Task) time.Duration {
	d := min(500*time.Millisecond<<min(n, 7), time.Minute)
	return d/2 + rand.N(d/2)
}

// logger hands asynq's lines to slog. asynq logs no payloads.
type logger struct{ l *slog.Logger }

func (l logger) Debug(a ...any) { l.l.Debug(fmt.Sprint(a...)) }
func (l logger) Info(a ...any)  { l.l.Info(fmt.Sprint(a...)) }
func (l logger) Warn(a ...any)  { l.l.Warn(fmt.Sprint(a...)) }
func (l logger) Error(a ...any) { l.l.Error(fmt.Sprint(a...)) }
func (l logger) Fatal(a ...any) { l.l.Error(fmt.Sprint(a...)) }

// RunSchedule pokes each policy at its cron times until ctx ends. Any number
// may run: a poke only asks, the create-only tick record decides.
func RunSchedule(ctx context.Context, r asynq.RedisConnOpt, cron map[string]string, log *slog.Logger) error {
	s := asynq.NewScheduler(r, &asynq.SchedulerOpts{
		Location: time.UTC, Logger: logger{log}, LogLevel: asynq.WarnLevel,
	})
	for policy, spec := range cron {
		b, err := json.Marshal(Tick{Policy: policy})
		if err != nil {
			return fmt.Errorf("encode tick: %w", err)
		}
		if _, err := s.Register(spec, asynq.NewTask(typeTick, b), asynq.Queue(Ticks), asynq.MaxRetry(3)); err != nil {
			return fmt.Errorf("schedule policy %s: %w", policy, err)
		}
	}
	if len(cron) == 0 {
		return errors.New("schedule: no policies")
	}
	if err := s.Start(); err != nil {
		return fmt.Errorf("start scheduler: %w: %w", ErrUnavailable, err)
	}
	<-ctx.Done()
	s.Shutdown()
	return nil
}
