package audit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/store"
)

// memory is a store without a disk to wait for.
type memory struct {
	mu      sync.Mutex
	objects map[string]object
	writes  int
}

type object struct {
	body []byte
	etag string
}

func newMemory() *memory { return &memory{objects: map[string]object{}} }

// dir is a store in a directory.
func dir(t *testing.T) store.Store {
	t.Helper()
	s, _ := openDir(t)
	return s
}

// copied is the store as it is now.
func (m *memory) copied() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := newMemory()
	for k, v := range m.objects {
		out.objects[k] = v
	}
	out.writes = m.writes
	return out
}

func (m *memory) Stat(_ context.Context, key string) (store.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return store.Info{}, &store.Error{Op: "stat", Key: key, Err: store.ErrNotFound}
	}
	return store.Info{Key: key, Size: int64(len(o.body)), ETag: o.etag}, nil
}

func (m *memory) Get(ctx context.Context, key string, _ store.GetOptions) (store.Info, io.ReadCloser, error) {
	info, err := m.Stat(ctx, key)
	if err != nil {
		return info, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return info, io.NopCloser(bytes.NewReader(m.objects[key].body)), nil
}

func (m *memory) List(_ context.Context, prefix string) iter.Seq2[store.Info, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for k := range m.objects {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return func(yield func(store.Info, error) bool) {
		for _, k := range keys {
			if !yield(store.Info{Key: k}, nil) {
				return
			}
		}
	}
}

func (m *memory) Put(ctx context.Context, key string, body []byte, o store.PutOptions) (store.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return store.Info{}, err
	}
	old, ok := m.objects[key]
	if o.CreateOnly && ok || o.IfMatch != "" && old.etag != o.IfMatch {
		return store.Info{}, &store.Error{Op: "put", Key: key, Err: store.ErrPrecondition}
	}
	m.writes++
	m.objects[key] = object{bytes.Clone(body), fmt.Sprint("v", m.writes)}
	return store.Info{Key: key, Size: int64(len(body)), ETag: m.objects[key].etag}, nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return nil
}

func (y *yard) read(t *testing.T, name string) []byte {
	t.Helper()
	b, _, err := store.ReadAll(t.Context(), y.store, name, "", 1<<30, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (y *yard) write(t *testing.T, name string, body []byte) {
	t.Helper()
	if _, err := y.store.Put(t.Context(), name, body, store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (y *yard) remove(t *testing.T, name string) {
	t.Helper()
	if err := y.store.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}
