package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

// Shipper sends signed checkpoints to where those who may write to the control
// store cannot. The same checkpoint may come more than once.
type Shipper interface {
	// Ship returns when the checkpoint is kept there; any error means that it
	// may not be.
	Ship(ctx context.Context, c Checkpoint) error
}

// ship sends the newest checkpoint to whoever does not have it. One that fails
// does not keep the others from theirs.
func (q *Sequencer) ship(ctx context.Context) error {
	if q.seen.Size == 0 {
		return nil
	}
	var failed []error
	for i, s := range q.o.Shippers {
		if q.shipped[i] >= q.seen.Size {
			continue
		}
		if err := s.Ship(ctx, q.seen); err != nil {
			failed = append(failed, fmt.Errorf("%w: %w", ErrShip, err))
			continue
		}
		q.shipped[i] = q.seen.Size
	}
	return errors.Join(failed...)
}

// FileShipper appends checkpoints to a file, one JSON object a line, each on the
// disk before it goes on. [ParseHeld] reads the file.
type FileShipper struct{ Path string }

// Ship implements Shipper.
func (s FileShipper) Ship(_ context.Context, c Checkpoint) error {
	line, err := json.Marshal(heldLine{Size: c.Size, Checkpoint: string(c.Signed)})
	if err != nil {
		return fmt.Errorf("ship checkpoint to %s: %w", s.Path, err)
	}
	f, err := os.OpenFile(s.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("ship checkpoint: %w", err)
	}
	err = appendLine(f, line)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("ship checkpoint: %w", err)
	}
	return nil
}

// appendLine begins a line of its own where a crash has cut the last one.
func appendLine(f *os.File, line []byte) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], info.Size()-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = append([]byte("\n"), line...)
		}
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return err
	}
	return f.Sync()
}

// WebhookShipper posts checkpoints, text/plain as signed. Any 2xx answer is an
// acknowledgement; redirects are not followed.
type WebhookShipper struct {
	// URL gets the POST. It may hold a secret: errors name its host alone.
	URL string
	// Client sends it. Zero: one that waits 10 seconds.
	Client *http.Client
	// Tries bounds the attempts. Zero: 3.
	Tries int
	// Pause is the wait before the second; each next is twice as long. Zero: 500ms.
	Pause time.Duration
}

// Ship implements Shipper. Answers of class 4xx are final, but for 408 and 429.
func (s WebhookShipper) Ship(ctx context.Context, c Checkpoint) error {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("ship checkpoint: webhook has no valid http or https URL")
	}
	client := http.Client{Timeout: 10 * time.Second}
	if s.Client != nil {
		client = *s.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	tries, pause := cmp.Or(s.Tries, 3), cmp.Or(s.Pause, 500*time.Millisecond)
	for try := 1; ; try++ {
		again, err := post(ctx, &client, s.URL, c.Signed)
		if err == nil {
			return nil
		}
		if !again || try >= tries {
			return fmt.Errorf("ship checkpoint to %s: %w", u.Host, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ship checkpoint to %s: %w", u.Host, ctx.Err())
		case <-time.After(pause << (try - 1)):
		}
	}
}

func post(ctx context.Context, client *http.Client, to string, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("make request: URL is not valid")
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL
		}
		return ctx.Err() == nil, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		return false, nil
	}
	again = resp.StatusCode/100 == 5 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout
	return again, fmt.Errorf("answer %d", resp.StatusCode)
}

// StoreShipper keeps checkpoints in another store, each as an object that is
// never written again. Another checkpoint of the same size there is an error of
// class store.ErrPrecondition: the log was forked.
type StoreShipper struct {
	Store store.Store
	// Prefix begins the objects' names; the size in 20 digits follows.
	Prefix string
}

// Ship implements Shipper.
func (s StoreShipper) Ship(ctx context.Context, c Checkpoint) error {
	name := fmt.Sprintf("%s%020d", s.Prefix, c.Size)
	if _, err := store.PutOnce(ctx, s.Store, name, c.Signed, store.Attributes{ContentType: "text/plain; charset=utf-8"}); err != nil {
		return fmt.Errorf("ship checkpoint: %w", err)
	}
	return nil
}
