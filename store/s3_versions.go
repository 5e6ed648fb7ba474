package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

var errNoVersion = errors.New("no version ID")

// ListVersions implements Versions. It needs the permission
// ListBucketVersions.
func (s *S3) ListVersions(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		if err := s.listVersions(ctx, prefix, yield); err != nil {
			yield(Version{}, opError("list versions", prefix, err))
		}
	}
}

func (s *S3) listVersions(ctx context.Context, prefix string, yield func(Version, error) bool) error {
	if err := checkPrefix(prefix); err != nil {
		return err
	}
	in := &s3.ListObjectVersionsInput{
		Bucket: &s.bucket, Prefix: aws.String(s.prefix + prefix), EncodingType: types.EncodingTypeUrl,
	}
	held := heldKey{ctx: ctx, yield: yield}
	for {
		page, err := s.client.ListObjectVersions(ctx, in)
		if err != nil {
			return s3Error(ctx, err)
		}
		versions, err := s.versions(prefix, page)
		if err != nil {
			return err
		}
		for _, v := range versions {
			if more, err := held.add(v); err != nil || !more {
				return err
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			_, err := held.release()
			return err
		}
		// The marker is encoded as the names are, and must not be when it is sent.
		marker, err := listedName(page.NextKeyMarker, page.EncodingType)
		if err != nil {
			return err
		}
		if marker == aws.ToString(in.KeyMarker) && aws.ToString(page.NextVersionIdMarker) == aws.ToString(in.VersionIdMarker) {
			return errEndless
		}
		in.KeyMarker, in.VersionIdMarker = &marker, page.NextVersionIdMarker
	}
}

var errEndless = errors.New("read listing: a page is followed by itself")

// heldKey holds the versions of one key back until all have come. The next page
// begins at one of them; if the caller had deleted that by then, some servers
// would find no more, and end the listing. They also give it twice.
type heldKey struct {
	ctx   context.Context
	yield func(Version, error) bool
	key   string
	held  []Version
	ids   map[string]bool
}

// add reports whether the caller wants more.
func (h *heldKey) add(v Version) (more bool, err error) {
	if v.Key < h.key {
		return false, fmt.Errorf("read listing: %q comes after %q", v.Key, h.key)
	}
	if v.Key > h.key {
		if more, err := h.release(); err != nil || !more {
			return false, err
		}
		h.key, h.ids = v.Key, map[string]bool{}
	}
	if !h.ids[v.ID] {
		h.ids[v.ID] = true
		h.held = append(h.held, v)
	}
	return true, nil
}

func (h *heldKey) release() (more bool, err error) {
	for _, v := range h.held {
		if err := h.ctx.Err(); err != nil {
			return false, err
		}
		if CheckKey(v.Key) == nil && !h.yield(v, nil) {
			return false, nil
		}
	}
	h.held = h.held[:0]
	return true, nil
}

// versions merges a page's versions and markers, which the SDK keeps apart.
func (s *S3) versions(prefix string, page *s3.ListObjectVersionsOutput) ([]Version, error) {
	all := make([]Version, 0, len(page.Versions)+len(page.DeleteMarkers))
	for _, v := range page.Versions {
		key, err := s.listedKey(prefix, v.Key, page.EncodingType)
		if err != nil {
			return nil, err
		}
		all = append(all, Version{
			Key: key, ID: aws.ToString(v.VersionId), Current: aws.ToBool(v.IsLatest),
			Size: aws.ToInt64(v.Size), ETag: aws.ToString(v.ETag), Modified: aws.ToTime(v.LastModified).UTC(),
		})
	}
	for _, m := range page.DeleteMarkers {
		key, err := s.listedKey(prefix, m.Key, page.EncodingType)
		if err != nil {
			return nil, err
		}
		all = append(all, Version{
			Key: key, ID: aws.ToString(m.VersionId), Current: aws.ToBool(m.IsLatest), Marker: true,
			Modified: aws.ToTime(m.LastModified).UTC(),
		})
	}
	// Each kind comes in order. If it does not, pages may leave out what is to be
	// deleted.
	byKey := func(a, b Version) int { return cmp.Compare(a.Key, b.Key) }
	if n := len(page.Versions); !slices.IsSortedFunc(all[:n], byKey) || !slices.IsSortedFunc(all[n:], byKey) {
		return nil, errors.New("read listing: keys are out of order")
	}
	slices.SortStableFunc(all, byKey)
	return all, nil
}

// DeleteVersion implements Versions. It needs the permission
// DeleteObjectVersion.
func (s *S3) DeleteVersion(ctx context.Context, key, id string) error {
	return opError("delete version", key, s.deleteVersion(ctx, key, id))
}

func (s *S3) deleteVersion(ctx context.Context, key, id string) error {
	full, err := s.key(key)
	if err != nil {
		return err
	}
	if id == "" {
		return errNoVersion
	}
	_, err = s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &full, VersionId: &id})
	switch err = s3Error(ctx, err); {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil && answered(err) && s.noVersion(ctx, key, id):
		return nil // some servers call the ID of what is gone invalid
	}
	return err
}

// noVersion reports that the object certainly has no such version.
func (s *S3) noVersion(ctx context.Context, key, id string) bool {
	for v, err := range s.ListVersions(ctx, key) {
		if err != nil || (v.Key == key && v.ID == id) {
			return false
		}
	}
	return true
}
