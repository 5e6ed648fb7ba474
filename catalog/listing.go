package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"github.com/seed-6133abe0/rekey/store"
)

// Reader is what the catalogue needs of the media root. Errors are the store's:
// ErrNotFound for an absent object, ErrPrecondition for one whose ETag differs.
type Reader interface {
	Stat(ctx context.Context, key string) (store.Info, error)
	Get(ctx context.Context, key string, o store.GetOptions) (store.Info, io.ReadCloser, error)
	List(ctx context.Context, prefix string) iter.Seq2[store.Info, error]
}

// listing answers for object sizes and ETags from one listing per folder
// instead of one request per object.
type listing struct {
	r       Reader
	objects map[string]Object
	listed  []string
}

func newListing(r Reader) *listing {
	return &listing{r: r, objects: map[string]Object{}}
}

func (l *listing) stat(ctx context.Context, k string) (Object, error) {
	if o, ok := l.objects[k]; ok {
		return o, nil
	}
	dir := path.Dir(k) + "/"
	if dir == "./" {
		return l.statOne(ctx, k)
	}
	if !l.covers(k) {
		if err := l.list(ctx, dir); err != nil {
			return Object{}, err
		}
		if o, ok := l.objects[k]; ok {
			return o, nil
		}
	}
	return Object{}, fmt.Errorf("find %s: %w", k, store.ErrNotFound)
}

func (l *listing) covers(k string) bool {
	for _, p := range l.listed {
		if strings.HasPrefix(k, p) {
			return true
		}
	}
	return false
}

func (l *listing) list(ctx context.Context, prefix string) error {
	for info, err := range l.r.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		l.objects[info.Key] = Object{Key: info.Key, ETag: info.ETag, Size: info.Size}
	}
	l.listed = append(l.listed, prefix)
	return nil
}

func (l *listing) statOne(ctx context.Context, k string) (Object, error) {
	info, err := l.r.Stat(ctx, k)
	if err != nil {
		return Object{}, fmt.Errorf("find %s: %w", k, err)
	}
	o := Object{Key: k, ETag: info.ETag, Size: info.Size}
	l.objects[k] = o
	return o, nil
}

// read returns a whole small object and pins what it read.
func (l *listing) read(ctx context.Context, k string, limit int64) ([]byte, Object, error) {
	b, info, err := store.ReadAll(ctx, l.r, k, "", limit, nil)
	if err != nil {
		return nil, Object{}, err
	}
	o := Object{Key: k, ETag: info.ETag, Size: info.Size}
	l.objects[k] = o
	return b, o, nil
}

// isRefusal tells a reason to refuse one asset from a store that cannot be
// reached, which says nothing about the asset.
func isRefusal(err error) bool {
	return !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrDenied) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
