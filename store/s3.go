package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// S3 keeps objects under a prefix of a bucket. To read tags it needs the
// permission GetObjectTagging (and GetObjectVersionTagging): without it S3 does
// not say that an object has any, so they would be lost in a copy.
type S3 struct {
	client         *s3.Client
	bucket, prefix string // the prefix, where there is one, ends in a slash
}

// NewS3 uses a bucket of a client such as [NewS3Client] makes.
func NewS3(client *s3.Client, bucket, prefix string) *S3 {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return &S3{client: client, bucket: bucket, prefix: prefix}
}

// Stat implements Reader.
func (s *S3) Stat(ctx context.Context, key string) (Info, error) {
	info, err := s.stat(ctx, key)
	return info, opError("stat", key, err)
}

func (s *S3) stat(ctx context.Context, key string) (Info, error) {
	full, err := s.key(key)
	if err != nil {
		return Info{}, err
	}
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &s.bucket, Key: &full, ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		return Info{}, s3Error(ctx, err)
	}
	info := Info{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag), Version: aws.ToString(out.VersionId),
		Modified: aws.ToTime(out.LastModified).UTC(), CRC64NVME: aws.ToString(out.ChecksumCRC64NVME),
		Attributes: headAttributes(out),
	}
	info.Attributes.Tags, err = s.tags(ctx, full, out.VersionId, out.TagCount)
	if err != nil {
		return Info{}, err
	}
	return info, nil
}

// Get implements Reader.
func (s *S3) Get(ctx context.Context, key string, o GetOptions) (Info, io.ReadCloser, error) {
	info, body, err := s.get(ctx, key, o)
	if err != nil {
		return Info{}, nil, opError("get", key, err)
	}
	return info, &s3Body{ReadCloser: body, ctx: ctx, key: key}, nil
}

func (s *S3) get(ctx context.Context, key string, o GetOptions) (Info, io.ReadCloser, error) {
	full, err := s.key(key)
	if err != nil {
		return Info{}, nil, err
	}
	if err := checkRange(o); err != nil {
		return Info{}, nil, err
	}
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: &full, IfMatch: text(o.IfMatch), Range: rangeHeader(o)}
	out, err := s.client.GetObject(ctx, in, withChecksum)
	if err != nil {
		return Info{}, nil, s3Error(ctx, err)
	}
	info, err := getInfo(key, out)
	if err == nil && o.IfMatch != "" && !sameETag(info.ETag, o.IfMatch) {
		// The server did not look at the condition.
		err = fmt.Errorf("%w: ETag is %s, not %s", ErrPrecondition, info.ETag, o.IfMatch)
	}
	if err == nil {
		info.Attributes.Tags, err = s.tags(ctx, full, out.VersionId, out.TagCount)
	}
	if err != nil {
		return Info{}, nil, errors.Join(err, out.Body.Close())
	}
	return info, out.Body, nil
}

// sameETag takes no account of quotes, which some servers leave out.
func sameETag(a, b string) bool { return strings.Trim(a, `"`) == strings.Trim(b, `"`) }

func getInfo(key string, out *s3.GetObjectOutput) (Info, error) {
	info := Info{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag), Version: aws.ToString(out.VersionId),
		Modified: aws.ToTime(out.LastModified).UTC(), CRC64NVME: aws.ToString(out.ChecksumCRC64NVME),
		Attributes: getAttributes(out),
	}
	if out.ContentLength == nil {
		return Info{}, fmt.Errorf("%w: response without Content-Length", ErrUnavailable)
	}
	if r := aws.ToString(out.ContentRange); r != "" {
		// RFC 9110 §14.4: bytes first-last/complete
		_, size, _ := strings.Cut(r, "/")
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			return Info{}, fmt.Errorf("%w: Content-Range %q", ErrUnavailable, r)
		}
		// A range that is an uploaded part comes with that part's checksum.
		info.Size, info.CRC64NVME = n, ""
	}
	return info, nil
}

func rangeHeader(o GetOptions) *string {
	switch {
	case o.Length > 0:
		return aws.String(fmt.Sprintf("bytes=%d-%d", o.Offset, o.Offset+o.Length-1))
	case o.Offset > 0:
		return aws.String(fmt.Sprintf("bytes=%d-", o.Offset))
	}
	return nil
}

// withChecksum asks for the object's checksum by a header of our own: by
// GetObjectInput.ChecksumMode the SDK would also compute it over every body, with
// slower code than ReadAll uses.
func withChecksum(o *s3.Options) {
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("X-Amz-Checksum-Mode", "ENABLED"))
}

// s3Body gives the errors of a body their class.
type s3Body struct {
	io.ReadCloser
	ctx context.Context
	key string
}

func (b *s3Body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, opError("get", b.key, withClass(b.ctx, ErrUnavailable, err))
}

// Delete implements Writer.
func (s *S3) Delete(ctx context.Context, key string) error {
	full, err := s.key(key)
	if err == nil {
		_, err = s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &full})
		err = s3Error(ctx, err)
	}
	if errors.Is(err, ErrNotFound) {
		return nil // S3 answers 204, some servers 404
	}
	return opError("delete", key, err)
}

// checkBucket asks whether the bucket is there.
func (s *S3) checkBucket(ctx context.Context) error {
	_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.bucket})
	return s3Error(ctx, err)
}

// key is the object's key in the bucket.
func (s *S3) key(key string) (string, error) {
	if err := CheckKey(key); err != nil {
		return "", err
	}
	full := s.prefix + key
	if len(full) > maxKey {
		return "", fmt.Errorf("%w: %d bytes with the store's prefix, at most %d", ErrInvalidKey, len(full), maxKey)
	}
	return full, nil
}
