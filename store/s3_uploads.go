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

// ListUploads implements Uploads. It needs the permission
// ListBucketMultipartUploads.
func (s *S3) ListUploads(ctx context.Context, prefix string) iter.Seq2[Upload, error] {
	return func(yield func(Upload, error) bool) {
		if err := s.listUploads(ctx, prefix, yield); err != nil {
			yield(Upload{}, opError("list uploads", prefix, err))
		}
	}
}

func (s *S3) listUploads(ctx context.Context, prefix string, yield func(Upload, error) bool) error {
	if err := checkPrefix(prefix); err != nil {
		return err
	}
	in := &s3.ListMultipartUploadsInput{
		Bucket: &s.bucket, Prefix: aws.String(s.prefix + prefix), EncodingType: types.EncodingTypeUrl,
	}
	for {
		page, err := s.client.ListMultipartUploads(ctx, in)
		if err != nil {
			return s3Error(ctx, err)
		}
		uploads, err := s.uploads(prefix, page)
		if err != nil {
			return err
		}
		more := aws.ToBool(page.IsTruncated)
		uploads, behind := wholeKeys(uploads, more)
		for _, u := range uploads {
			if err := ctx.Err(); err != nil {
				return err
			}
			if CheckKey(u.Key) == nil && !yield(u, nil) {
				return nil
			}
		}
		if !more {
			return nil
		}
		if behind != "" {
			in.KeyMarker, in.UploadIdMarker = aws.String(s.prefix+behind), nil
			continue
		}
		marker, err := listedName(page.NextKeyMarker, page.EncodingType)
		if err != nil {
			return err
		}
		if marker == aws.ToString(in.KeyMarker) && aws.ToString(page.NextUploadIdMarker) == aws.ToString(in.UploadIdMarker) {
			return errEndless
		}
		in.KeyMarker, in.UploadIdMarker = text(marker), page.NextUploadIdMarker
	}
}

func (s *S3) uploads(prefix string, page *s3.ListMultipartUploadsOutput) ([]Upload, error) {
	all := make([]Upload, 0, len(page.Uploads))
	for _, u := range page.Uploads {
		key, err := s.listedKey(prefix, u.Key, page.EncodingType)
		if err != nil {
			return nil, err
		}
		all = append(all, Upload{Key: key, ID: aws.ToString(u.UploadId), Begun: aws.ToTime(u.Initiated).UTC()})
	}
	return all, nil
}

// wholeKeys leaves the last key of a page that is not the last to the next one,
// which then begins behind the key before it: an upload as marker may be aborted
// by then, and some servers refuse every one. Where one key fills the page there
// is no key to begin behind.
func wholeKeys(page []Upload, more bool) (whole []Upload, behind string) {
	if !more || len(page) == 0 {
		return page, ""
	}
	last := page[len(page)-1].Key
	begins := slices.IndexFunc(page, func(u Upload) bool { return u.Key == last })
	if begins == 0 || !slices.IsSortedFunc(page, func(a, b Upload) int { return cmp.Compare(a.Key, b.Key) }) {
		return page, ""
	}
	return page[:begins], page[begins-1].Key
}

// AbortUpload implements Uploads. It needs the permission AbortMultipartUpload.
func (s *S3) AbortUpload(ctx context.Context, key, id string) error {
	full, err := s.key(key)
	if err == nil {
		_, err = s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: &full, UploadId: &id})
		err = s3Error(ctx, err)
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return opError("abort upload", key, err)
}

// ListParts implements Uploader. It needs the permission
// ListMultipartUploadParts.
func (s *S3) ListParts(ctx context.Context, key, id string) iter.Seq2[Part, error] {
	return func(yield func(Part, error) bool) {
		if err := s.listParts(ctx, key, id, yield); err != nil {
			yield(Part{}, opError("list parts", key, err))
		}
	}
}

func (s *S3) listParts(ctx context.Context, key, id string, yield func(Part, error) bool) error {
	full, err := s.key(key)
	if err != nil {
		return err
	}
	pages := s3.NewListPartsPaginator(s.client, &s3.ListPartsInput{Bucket: &s.bucket, Key: &full, UploadId: &id},
		func(o *s3.ListPartsPaginatorOptions) { o.StopOnDuplicateToken = true })
	last := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s3Error(ctx, err)
		}
		for _, p := range page.Parts {
			part := Part{
				Number: int(aws.ToInt32(p.PartNumber)), Size: aws.ToInt64(p.Size),
				ETag: aws.ToString(p.ETag), CRC64NVME: aws.ToString(p.ChecksumCRC64NVME),
			}
			if part.Number <= last {
				return fmt.Errorf("read listing: part %d comes after %d", part.Number, last)
			}
			last = part.Number
			if !yield(part, nil) {
				return nil
			}
		}
	}
	return nil
}
