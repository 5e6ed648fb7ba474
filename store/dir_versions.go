package store

import (
	"context"
	"errors"
	"iter"
)

// ListVersions implements Versions: a directory keeps one version of an object.
func (d *Dir) ListVersions(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		for info, err := range d.List(ctx, prefix) {
			v := Version{Key: info.Key, ID: NullVersion, Current: true, Size: info.Size, ETag: info.ETag, Modified: info.Modified}
			if e, ok := errors.AsType[*Error](err); ok {
				v, err = Version{}, &Error{Op: "list versions", Key: prefix, Err: e.Err}
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

// DeleteVersion implements Versions.
func (d *Dir) DeleteVersion(ctx context.Context, key, id string) error {
	err := ready(ctx, key)
	switch {
	case err != nil:
	case id == "":
		err = errNoVersion
	case id == NullVersion:
		err = d.delete(ctx, key)
	}
	return opError("delete version", key, err)
}
