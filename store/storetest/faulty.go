package storetest

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/seed-6133abe0/rekey/store"
)

// Faulty is a store with faults in front of it. Its hooks are set before its
// first use and called by whichever goroutine uses it; nil is no fault. An op is
// "stat", "get", "list" (whose key is the prefix), "put" or "delete".
type Faulty struct {
	store.Store

	// Before may fail a call, which then does not reach the store. It may also
	// only watch, or do what another process might.
	Before func(op, key string) error
	// After may fail a call that the store has done: the answer was lost. It is
	// not called for list.
	After func(op, key string) error
	// Truncate says how many bytes of a body come before it ends, as if that were
	// all; negative, or past its end: all of them.
	Truncate func(key string) int64
	// Flip says which byte of a body has its lowest bit turned; negative: none.
	Flip func(key string) int64
}

// Stat implements store.Reader.
func (f *Faulty) Stat(ctx context.Context, key string) (store.Info, error) {
	if err := f.before("stat", key); err != nil {
		return store.Info{}, err
	}
	info, err := f.Store.Stat(ctx, key)
	if err == nil {
		err = f.after("stat", key)
	}
	return info, err
}

// Get implements store.Reader.
func (f *Faulty) Get(ctx context.Context, key string, o store.GetOptions) (store.Info, io.ReadCloser, error) {
	if err := f.before("get", key); err != nil {
		return store.Info{}, nil, err
	}
	info, body, err := f.Store.Get(ctx, key, o)
	if err != nil {
		return info, body, err
	}
	if err := f.after("get", key); err != nil {
		return store.Info{}, nil, errors.Join(err, body.Close())
	}
	return info, f.damaged(key, body), nil
}

// List implements store.Reader.
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		if err := f.before("list", prefix); err != nil {
			yield(store.Info{}, err)
			return
		}
		f.Store.List(ctx, prefix)(yield)
	}
}

// Put implements store.Writer.
func (f *Faulty) Put(ctx context.Context, key string, body []byte, o store.PutOptions) (store.Info, error) {
	if err := f.before("put", key); err != nil {
		return store.Info{}, err
	}
	info, err := f.Store.Put(ctx, key, body, o)
	if err == nil {
		if err = f.after("put", key); err != nil {
			info = store.Info{}
		}
	}
	return info, err
}

// Delete implements store.Writer.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	if err := f.before("delete", key); err != nil {
		return err
	}
	if err := f.Store.Delete(ctx, key); err != nil {
		return err
	}
	return f.after("delete", key)
}

func (f *Faulty) before(op, key string) error { return call(f.Before, op, key) }

func (f *Faulty) after(op, key string) error { return call(f.After, op, key) }

func call(hook func(op, key string) error, op, key string) error {
	if hook == nil {
		return nil
	}
	err := hook(op, key)
	if err == nil {
		return nil
	}
	return &store.Error{Op: op, Key: key, Err: err}
}

func (f *Faulty) damaged(key string, body io.ReadCloser) io.ReadCloser {
	d := &damagedBody{ReadCloser: body, left: -1, flip: -1}
	if f.Truncate != nil {
		d.left = f.Truncate(key)
	}
	if f.Flip != nil {
		d.flip = f.Flip(key)
	}
	return d
}

// damagedBody counts both down from where it stands.
type damagedBody struct {
	io.ReadCloser
	left int64 // bytes until it ends; negative: it does not
	flip int64 // bytes until the one to damage; negative: none, or past
}

func (d *damagedBody) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	if d.left > 0 {
		p = p[:min(int64(len(p)), d.left)]
	}
	n, err := d.ReadCloser.Read(p)
	if d.left > 0 {
		d.left -= int64(n)
	}
	if d.flip >= 0 && d.flip < int64(n) {
		p[d.flip] ^= 1
	}
	d.flip = max(d.flip-int64(n), -1)
	return n, err
}
