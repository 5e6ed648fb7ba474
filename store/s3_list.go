package store

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"unicode/utf8"

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
			if !s.page(ctx, prefix, page, yield) {
				return
			}
		}
	}
}

// page yields a page's objects until the caller has enough.
func (s *S3) page(ctx context.Context, prefix string, page *s3.ListObjectsV2Output, yield func(Info, error) bool) bool {
	for _, o := range page.Contents {
		err := ctx.Err()
		var key string
		if err == nil {
			key, err = s.listedKey(prefix, o.Key, page.EncodingType)
		}
		if err != nil {
			yield(Info{}, opError("list", prefix, err))
			return false
		}
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

// listedKey is the store's key for a name in a listing of the prefix. A name
// that was not asked for is refused: what is listed may be deleted.
func (s *S3) listedKey(prefix string, name *string, encoding types.EncodingType) (string, error) {
	full, err := listedName(name, encoding)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(full, s.prefix+prefix) {
		return "", fmt.Errorf("read listing: %q does not begin with %q", full, s.prefix+prefix)
	}
	return full[len(s.prefix):], nil
}

// listedName decodes a name in a listing. A server that encodes names says so in
// its answer; one that does not sends them as they are, and U+FFFD where XML 1.0
// can't hold a character. That is no name that could be asked for.
func listedName(name *string, encoding types.EncodingType) (string, error) {
	raw := aws.ToString(name)
	if encoding != types.EncodingTypeUrl {
		if strings.ContainsRune(raw, utf8.RuneError) {
			return "", fmt.Errorf("read listing: the server can't spell the key %q in it", raw)
		}
		return raw, nil
	}
	full, err := url.QueryUnescape(raw)
	if err != nil {
		return "", fmt.Errorf("read listing: %w", err)
	}
	return full, nil
}
