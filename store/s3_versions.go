package store

import (
	"cmp"
	"context"
	"errors"
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
	var done versionsDone
	for {
		page, err := s.client.ListObjectVersions(ctx, in)
		if err != nil {
			return s3Error(ctx, err)
		}
		versions, err := s.versions(prefix, page)
		if err != nil {
			return err
		}
		more := aws.ToBool(page.IsTruncated)
		fresh, behind := done.add(versions, more)
		for _, v := range fresh {
			if err := ctx.Err(); err != nil {
				return err
			}
			if CheckKey(v.Key) == nil && !yield(v, nil) {
				return nil
			}
		}
		switch {
		case !more:
			return nil
		case behind != "":
			in.KeyMarker, in.VersionIdMarker = aws.String(s.prefix+behind), nil
		case len(fresh) == 0:
			return errEndless
		default:
			// The markers are encoded as the names are, and must not be when they are sent.
			marker, err := listedName(page.NextKeyMarker, page.EncodingType)
			if err != nil {
				return err
			}
			in.KeyMarker, in.VersionIdMarker = &marker, page.NextVersionIdMarker
		}
	}
}

var errEndless = errors.New("read listing: a page is followed by itself")

// versionsDone keeps a listing whole while what it yields is deleted: the next
// page begins behind the last key all of whose versions have come, since the
// version that a marker names may be gone by then, and some servers then find no
// more, or give the marker's version twice. Only where one key fills a page does
// it go on from a version.
type versionsDone struct {
	key string          // the last that is whole
	of  string          // a key that filled a page,
	ids map[string]bool // and its versions that have come
}

// add takes a page and returns what of it is to be yielded, and the key behind
// which the next page begins; empty where the page holds but one key's versions.
func (d *versionsDone) add(page []Version, more bool) (fresh []Version, behind string) {
	page = slices.DeleteFunc(page, func(v Version) bool {
		return (d.key != "" && v.Key <= d.key) || (v.Key == d.of && d.ids[v.ID])
	})
	if !more || len(page) == 0 {
		return page, ""
	}
	last := page[len(page)-1].Key
	begins := slices.IndexFunc(page, func(v Version) bool { return v.Key == last })
	if begins > 0 {
		d.key = page[begins-1].Key
		return page[:begins], d.key
	}
	if d.of != last {
		d.of, d.ids = last, map[string]bool{}
	}
	for _, v := range page {
		d.ids[v.ID] = true
	}
	return page, ""
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
	slices.SortStableFunc(all, func(a, b Version) int { return cmp.Compare(a.Key, b.Key) })
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
