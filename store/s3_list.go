package store

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// List implements Reader. Objects under keys that this package refuses, such as
// the folder markers of web consoles (a/b/), are left out: nothing else could be
// done with them.
func (s *S3) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := checkPrefix(prefix); err != nil {
			yield(Info{}, opError("list", prefix, err))
			return
		}
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{
			Bucket: &s.bucket, Prefix: aws.String(s.prefix + prefix),
			EncodingType: types.EncodingTypeUrl, // XML 1.0 can't hold every character of a key
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Info{}, opError("list", prefix, s3Error(ctx, err)))
				return
			}
			if !s.page(ctx, prefix, page.Contents, yield) {
				return
			}
		}
	}
}

// page yields a page's objects until the caller has enough.
func (s *S3) page(ctx context.Context, prefix string, page []types.Object, yield func(Info, error) bool) bool {
	for _, o := range page {
		err := ctx.Err()
		var key string
		if err == nil {
			key, err = url.QueryUnescape(aws.ToString(o.Key))
		}
		if err != nil {
			yield(Info{}, opError("list", prefix, fmt.Errorf("read listing: %w", err)))
			return false
		}
		key = strings.TrimPrefix(key, s.prefix)
		if CheckKey(key) != nil {
			continue
		}
		info := Info{Key: key, Size: aws.ToInt64(o.Size), ETag: aws.ToString(o.ETag), Modified: aws.ToTime(o.LastModified).UTC()}
		if !yield(info, nil) {
			return false
		}
	}
	return true
}
