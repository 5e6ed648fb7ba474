package queue_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/queue"
)

type recorder struct {
	mu    sync.Mutex
	order []queue.Part
	fail  func(p queue.Part, n int) error
	tries map[int]int
	lasts int
	ticks int
}

func (r *recorder) Work(_ context.Context, p queue.Part, last bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.order = append(r.order, p)
	r.tries[p.Part]++
	if last {
		r.lasts++
	}
	if r.fail != nil {
		return r.fail(p, r.tries[p.Part])
	}
	return nil
}

func (r *recorder) Tick(context.Context, queue.Tick) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ticks++
	return nil
}

func (r *recorder) seen() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.order)
}

func options() queue.ServerOptions {
	return queue.ServerOptions{Concurrency: 1, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

// until waits for what must come, and fails the test where it does not.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 600 {
		if done() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s did not come", what)
}

func serve(t *testing.T, conn asynq.RedisConnOpt, r *recorder) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- queue.Serve(ctx, conn, r, r, options()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// The same jobs run over Redis itself and over the one in this process.
func TestQueue(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) asynq.RedisConnOpt{
		"redis": func(t *testing.T) asynq.RedisConnOpt {
			conn, err := queue.Open(services.Redis(t))
			if err != nil {
				t.Fatal(err)
			}
			return conn
		},
		"in process": func(t *testing.T) asynq.RedisConnOpt {
			conn, err := queue.StartLocal(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return conn
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn := open(t)
			c := queue.NewClient(conn)
			defer func() { _ = c.Close() }()
			for i, q := range []string{queue.Planned, queue.Planned, queue.Urgent, queue.Urgent, queue.Urgent} {
				if err := c.Enqueue(t.Context(), q, queue.Part{Rotation: "r", Asset: "a", Part: i, Generation: 1}); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Enqueue(t.Context(), queue.Urgent, queue.Part{Rotation: "r", Asset: "a", Part: 4, Generation: 1}); err != nil {
				t.Errorf("queued again: %v", err)
			}
			r := &recorder{tries: map[int]int{}}
			r.fail = func(p queue.Part, n int) error {
				switch {
				case p.Part == 3:
					return queue.Permanent(errors.New("never"))
				case p.Part == 2 && n == 1:
					return errors.New("not yet")
				}
				return nil
			}
			serve(t, conn, r)
			until(t, "six runs", func() bool { return r.seen() >= 6 })
			r.mu.Lock()
			defer r.mu.Unlock()
			for i, p := range r.order[:3] {
				if p.Part < 2 {
					t.Errorf("run %d was part %d: a compromise outranks a schedule", i, p.Part)
				}
			}
			if r.tries[3] != 1 || r.tries[2] != 2 || r.tries[4] != 1 || r.lasts != 0 {
				t.Errorf("tries %v, %d of them last", r.tries, r.lasts)
			}
		})
	}
}

// A job holds names only.
func TestJobsHoldNamesOnly(t *testing.T) {
	addr := services.Redis(t)
	conn, err := queue.Open("redis://" + addr + "/3")
	if err != nil {
		t.Fatal(err)
	}
	c := queue.NewClient(conn)
	defer func() { _ = c.Close() }()
	if err := c.Enqueue(t.Context(), queue.Urgent, queue.Part{Rotation: "r1", Asset: "shows/a b", Part: 7, Generation: 2}); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: addr, DB: 3})
	defer func() { _ = rdb.Close() }()
	got, err := rdb.HGet(t.Context(), "asynq:{compromise}:t:r1/shows/a b/7@2.0", "msg").Bytes()
	if err != nil {
		t.Fatal(err)
	}
	info, err := asynq.NewInspector(conn).GetTaskInfo(queue.Urgent, "r1/shows/a b/7@2.0")
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"rotation":"r1","asset":"shows/a b","part":7,"generation":2}`; string(info.Payload) != want || len(got) > 400 {
		t.Errorf("payload %s, want %s; %d bytes in Redis", info.Payload, want, len(got))
	}
}

func TestRedisAwayIsAClass(t *testing.T) {
	conn, err := queue.Open("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	c := queue.NewClient(conn)
	defer func() { _ = c.Close() }()
	if err := c.Ping(); !errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("ping: %v, want ErrUnavailable", err)
	}
	if err := c.Enqueue(t.Context(), queue.Urgent, queue.Part{}); !errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("enqueue: %v, want ErrUnavailable", err)
	}
	if _, err := queue.Open(""); err == nil {
		t.Error("no address gives no error")
	}
}

func TestSchedulePokesItsPolicies(t *testing.T) {
	conn, err := queue.Open(services.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- queue.RunSchedule(ctx, conn, map[string]string{"often": "@every 1s"}, options().Log)
	}()
	r := &recorder{tries: map[int]int{}}
	serve(t, conn, r)
	until(t, "two pokes", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.ticks >= 2
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := queue.RunSchedule(t.Context(), conn, map[string]string{"bad": "61 * * * *"}, options().Log); err == nil {
		t.Error("a cron that is none gives no error")
	}
}
