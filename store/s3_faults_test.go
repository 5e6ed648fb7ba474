package store_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/store/storetest"
)

// faulting is a store on a bucket of the server whose requests go through f. It
// tries again as always, but without waiting.
func faulting(m services.MinIO, bucket string, f *storetest.Transport) *store.S3 {
	f.RoundTripper = http.DefaultTransport
	return store.NewS3(s3.New(m.Client().Options(), func(o *s3.Options) {
		o.HTTPClient = &http.Client{Transport: f}
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
			r.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}), bucket, "")
}

// faults are what may go wrong on the way to a server that works.
func faults() map[string]func(*testing.T, faultyCase) {
	return map[string]func(*testing.T, faultyCase){
		"refused for a while":          refusedForAWhile,
		"refused for good":             refusedForGood,
		"bodies cut short":             bodiesCutShort,
		"a bit flipped in an answer":   bitFlippedInAnswer,
		"a bit flipped in a request":   bitFlippedInRequest,
		"an ETag that is another's":    wrongETag,
		"a slow body":                  slowBody,
		"a write whose answer is lost": lostAnswer,
		"a write that was sent twice":  sentTwice,
		"a listing broken off":         listingCut,
		"an upload's answers lost":     lostUpload,
	}
}

type faultyCase struct {
	server services.MinIO
	bucket string
	plain  *store.S3
}

func TestFaults(t *testing.T) {
	for name, m := range map[string]services.MinIO{"MinIO": services.StartMinIO(t), "VersityGW": services.StartVersityGW(t).MinIO} {
		for fault, test := range faults() {
			t.Run(name+"/"+fault, func(t *testing.T) {
				t.Parallel() // PutOnce waits between its tries
				bucket := m.Bucket(t)
				test(t, faultyCase{m, bucket, store.NewS3(m.Client(), bucket, "")})
			})
		}
	}
}

func (c faultyCase) put(t *testing.T, key, body string) store.Info {
	t.Helper()
	info, err := c.plain.Put(t.Context(), key, []byte(body), store.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func (c faultyCase) stands(t *testing.T, key, want string) {
	t.Helper()
	b, _, err := store.ReadAll(t.Context(), c.plain, key, "", 1<<20, nil)
	if err != nil || string(b) != want {
		t.Errorf("%q stands under %s, %v, want %q", b, key, err, want)
	}
}

// operations are all of a store's, by the condition or none.
func operations(t *testing.T, s *store.S3, etag string) map[string]func() error {
	ctx := t.Context()
	return map[string]func() error{
		"stat": func() error { _, err := s.Stat(ctx, "k"); return err },
		"get":  func() error { _, _, err := store.ReadAll(ctx, s, "k", "", 100, nil); return err },
		"list": func() error {
			for _, err := range s.List(ctx, "") {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"list versions": func() error {
			for _, err := range s.ListVersions(ctx, "") {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"list uploads": func() error {
			for _, err := range s.ListUploads(ctx, "k") {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"put":      func() error { _, err := s.Put(ctx, "k", []byte("body"), store.PutOptions{}); return err },
		"create":   func() error { _, err := s.Put(ctx, "new", nil, store.PutOptions{CreateOnly: true}); return err },
		"if-match": func() error { _, err := s.Put(ctx, "m", nil, store.PutOptions{IfMatch: etag}); return err },
		"delete":   func() error { return s.Delete(ctx, "gone") },
	}
}

type answerer func(r *http.Request) (*http.Response, error)

func refusals() map[string]answerer {
	answer := func(status int, code string) answerer {
		return func(r *http.Request) (*http.Response, error) { return storetest.Answer(r, status, code), nil }
	}
	return map[string]answerer{
		"500 InternalError": answer(500, "InternalError"), "503 SlowDown": answer(503, "SlowDown"),
		"503": answer(503, ""), "429": answer(429, "TooManyRequests"),
		"reset": func(*http.Request) (*http.Response, error) { return nil, storetest.Reset() },
	}
}

// refusedForAWhile: the client tries again by itself, but for conditional writes
// of which it is not known that they were not done.
func refusedForAWhile(t *testing.T, c faultyCase) {
	for name, refuse := range refusals() {
		c.put(t, "k", "body")
		etag := c.put(t, "m", "match "+name).ETag
		if err := c.plain.Delete(t.Context(), "new"); err != nil {
			t.Fatal(err)
		}
		for op := range operations(t, c.plain, etag) {
			f := &storetest.Transport{Before: func(n int, r *http.Request) (*http.Response, error) {
				if n == 1 {
					return refuse(r)
				}
				return nil, nil
			}}
			err := operations(t, faulting(c.server, c.bucket, f), etag)[op]()
			known := strings.HasPrefix(name, "503") || name == "429"
			if conditional := op == "create" || op == "if-match"; conditional && !known {
				if !errors.Is(err, store.ErrUnavailable) || f.Requests() != 1 {
					t.Errorf("%s, %s: error %v after %d requests", name, op, err, f.Requests())
				}
			} else if err != nil || f.Requests() < 2 {
				t.Errorf("%s, %s: error %v after %d requests", name, op, err, f.Requests())
			}
		}
	}
}

func refusedForGood(t *testing.T, c faultyCase) {
	etag := c.put(t, "k", "body").ETag
	for name, refuse := range refusals() {
		t.Run(name, func(t *testing.T) {
			f := &storetest.Transport{Before: func(_ int, r *http.Request) (*http.Response, error) { return refuse(r) }}
			for op, do := range operations(t, faulting(c.server, c.bucket, f), etag) {
				t.Run(op, func(t *testing.T) {
					t.Parallel()
					if err := do(); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrPrecondition) || errors.Is(err, store.ErrNotFound) {
						t.Errorf("error %v", err)
					}
				})
			}
		})
	}
}

func bodiesCutShort(t *testing.T, c faultyCase) {
	c.put(t, "k", "0123456789")
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, storetest.Reset()} {
		for _, n := range []int64{0, 1, 9} {
			f := &storetest.Transport{After: func(_ int, r *http.Response) error { storetest.CutAnswer(r, n, end); return nil }}
			_, _, err := store.ReadAll(t.Context(), faulting(c.server, c.bucket, f), "k", "", 100, nil)
			if !errors.Is(err, store.ErrUnavailable) || (!errors.Is(end, storetest.Reset()) && !errors.Is(err, store.ErrTruncated)) {
				t.Errorf("cut after %d bytes with %v: error %v", n, end, err)
			}
		}
	}
}

func bitFlippedInAnswer(t *testing.T, c faultyCase) {
	c.put(t, "k", strings.Repeat("0123456789abcdef", 1000))
	for _, at := range []int64{0, 7777, 15999} {
		f := &storetest.Transport{After: func(_ int, r *http.Response) error { storetest.FlipAnswer(r, at); return nil }}
		_, _, err := store.ReadAll(t.Context(), faulting(c.server, c.bucket, f), "k", "", 1<<20, nil)
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, store.ErrChecksum) {
			t.Errorf("bit flipped at %d: error %v", at, err)
		}
	}
}

// bitFlippedInRequest: the server finds it and writes nothing.
func bitFlippedInRequest(t *testing.T, c faultyCase) {
	c.put(t, "k", "old")
	for _, always := range []bool{false, true} {
		f := &storetest.Transport{Before: func(n int, r *http.Request) (*http.Response, error) {
			if n > 1 && !always {
				return nil, nil
			}
			return nil, storetest.FlipRequest(r, 1)
		}}
		s := faulting(c.server, c.bucket, f)
		_, err := s.Put(t.Context(), "k", []byte("new"), store.PutOptions{})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("error %v after %d requests", err, f.Requests())
		}
		c.stands(t, "k", "old")
		// PutOnce tries again, and so gets over the one that passes.
		_, err = store.PutOnce(t.Context(), faulting(c.server, c.bucket, &storetest.Transport{Before: f.Before}), "once", []byte("new"), store.Attributes{})
		if always != errors.Is(err, store.ErrUnavailable) || always != (err != nil) {
			t.Errorf("put once: error %v", err)
		}
		if _, err := c.plain.Stat(t.Context(), "once"); always != errors.Is(err, store.ErrNotFound) {
			t.Errorf("stat: %v", err)
		}
		if err := c.plain.Delete(t.Context(), "once"); err != nil {
			t.Error(err)
		}
	}
}

// wrongETag: a server, or a cache before it, that does not look at If-Match gives
// another object than was asked for.
func wrongETag(t *testing.T, c faultyCase) {
	old := c.put(t, "k", "old")
	f := &storetest.Transport{
		Before: func(_ int, r *http.Request) (*http.Response, error) { return nil, nil },
		After:  func(_ int, r *http.Response) error { r.Header.Set("Etag", `"another"`); return nil },
	}
	s := faulting(c.server, c.bucket, f)
	_, _, err := store.ReadAll(t.Context(), s, "k", old.ETag, 100, nil)
	if !errors.Is(err, store.ErrPrecondition) {
		t.Errorf("read: error %v", err)
	}
	// What a write says of itself can't be checked, but costs no more than a
	// refusal: nothing else is overwritten.
	info, err := s.Put(t.Context(), "k", []byte("new"), store.PutOptions{IfMatch: old.ETag})
	if err != nil || info.ETag != `"another"` {
		t.Fatalf("%+v, %v", info, err)
	}
	if _, err := c.plain.Put(t.Context(), "k", []byte("newer"), store.PutOptions{IfMatch: info.ETag}); !errors.Is(err, store.ErrPrecondition) {
		t.Errorf("write: error %v", err)
	}
	c.stands(t, "k", "new")
}

func slowBody(t *testing.T, c faultyCase) {
	c.put(t, "k", strings.Repeat("0123456789", 100))
	f := &storetest.Transport{After: func(_ int, r *http.Response) error { storetest.DripAnswer(r); return nil }}
	b, _, err := store.ReadAll(t.Context(), faulting(c.server, c.bucket, f), "k", "", 1000, nil)
	if err != nil || len(b) != 1000 {
		t.Errorf("read %d bytes, %v", len(b), err)
	}
	f = &storetest.Transport{After: func(_ int, r *http.Response) error { storetest.StallAnswer(r, 10); return nil }}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, _, err = store.ReadAll(ctx, faulting(c.server, c.bucket, f), "k", "", 1000, nil)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("stalled: error %v", err)
	}
}

// lostAnswer: the write is done, and its writer does not know. It must not hear
// of a precondition that failed, nor may the write be sent again by itself.
func lostAnswer(t *testing.T, c faultyCase) {
	lose := func(n int, r *http.Response) error {
		if n == 1 {
			return storetest.Reset()
		}
		return nil
	}
	f := &storetest.Transport{After: lose}
	_, err := faulting(c.server, c.bucket, f).Put(t.Context(), "new", []byte("mine"), store.PutOptions{CreateOnly: true})
	if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrPrecondition) || f.Requests() != 1 {
		t.Errorf("create: error %v after %d requests", err, f.Requests())
	}
	c.stands(t, "new", "mine")
	old := c.put(t, "k", "old")
	f = &storetest.Transport{After: lose}
	_, err = faulting(c.server, c.bucket, f).Put(t.Context(), "k", []byte("mine"), store.PutOptions{IfMatch: old.ETag})
	if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrPrecondition) || f.Requests() != 1 {
		t.Errorf("if-match: error %v after %d requests", err, f.Requests())
	}
	c.stands(t, "k", "mine")
	// PutOnce looks, and finds its own.
	f = &storetest.Transport{After: lose}
	info, err := store.PutOnce(t.Context(), faulting(c.server, c.bucket, f), "once", []byte("mine"), store.Attributes{})
	if err != nil || info.CRC64NVME != store.CRC64NVME([]byte("mine")) || f.Requests() != 3 {
		t.Errorf("put once: %+v, %v after %d requests", info, err, f.Requests())
	}
}

// sentTwice: something on the way sends a write again, so that its writer hears
// of its own object. PutOnce knows it; of another's, it still says so.
func sentTwice(t *testing.T, c faultyCase) {
	twice := func(key string) *storetest.Transport {
		return &storetest.Transport{Before: func(n int, r *http.Request) (*http.Response, error) {
			if n == 1 {
				_, err := c.plain.Put(t.Context(), key, []byte("mine"), store.PutOptions{})
				return nil, err
			}
			return nil, nil
		}}
	}
	_, err := faulting(c.server, c.bucket, twice("a")).Put(t.Context(), "a", []byte("mine"), store.PutOptions{CreateOnly: true})
	if !errors.Is(err, store.ErrPrecondition) {
		t.Errorf("put: error %v", err)
	}
	if _, err := store.PutOnce(t.Context(), faulting(c.server, c.bucket, twice("b")), "b", []byte("mine"), store.Attributes{}); err != nil {
		t.Errorf("put once: error %v", err)
	}
	_, err = store.PutOnce(t.Context(), faulting(c.server, c.bucket, twice("c")), "c", []byte("another"), store.Attributes{})
	if !errors.Is(err, store.ErrPrecondition) {
		t.Errorf("put another: error %v", err)
	}
	c.stands(t, "c", "mine")
}

// listingCut: what is listed before a page that breaks off is true, and the end
// is an error, never an end.
func listingCut(t *testing.T, c faultyCase) {
	for _, key := range []string{"a", "b", "c"} {
		c.put(t, key, "")
	}
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF} {
		f := &storetest.Transport{After: func(_ int, r *http.Response) error {
			if r.ContentLength > 0 {
				r.ContentLength = -1
			}
			storetest.CutAnswer(r, 300, end)
			return nil
		}}
		s := faulting(c.server, c.bucket, f)
		for op, do := range operations(t, s, "") {
			if op != "list" && op != "list versions" {
				continue
			}
			if err := do(); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s cut with %v: error %v", op, end, err)
			}
		}
	}
}

func lostUpload(t *testing.T, c faultyCase) {
	ctx := t.Context()
	id, err := c.plain.BeginUpload(ctx, "k", store.Attributes{})
	if err != nil {
		t.Fatal(err)
	}
	lose := func(n int, r *http.Response) error {
		if n == 1 {
			return storetest.Reset()
		}
		return nil
	}
	// The same part again replaces itself: the client tries again.
	f := &storetest.Transport{After: lose}
	part, err := faulting(c.server, c.bucket, f).PutPart(ctx, "k", id, 1, []byte("part"))
	if err != nil || f.Requests() != 2 {
		t.Fatalf("put part: error %v after %d requests", err, f.Requests())
	}
	damage := &storetest.Transport{Before: func(_ int, r *http.Request) (*http.Response, error) { return nil, storetest.FlipRequest(r, 0) }}
	if _, err := faulting(c.server, c.bucket, damage).PutPart(ctx, "k", id, 1, []byte("part")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("damaged part: error %v", err)
	}
	f = &storetest.Transport{After: lose}
	_, err = faulting(c.server, c.bucket, f).CompleteUpload(ctx, "k", id, []store.Part{part}, store.PutOptions{CreateOnly: true})
	if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrPrecondition) || f.Requests() != 1 {
		t.Errorf("complete: error %v after %d requests", err, f.Requests())
	}
	c.stands(t, "k", "part")
	var ids []string
	for u, err := range c.plain.ListUploads(ctx, "k") {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, u.ID)
	}
	if slices.Contains(ids, id) {
		t.Error("the upload that was completed is still listed")
	}
}
