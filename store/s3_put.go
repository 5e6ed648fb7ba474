package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const maxPut = 5 << 30 // the largest object S3 takes in one request

// Put implements Writer.
func (s *S3) Put(ctx context.Context, key string, body []byte, o PutOptions) (Info, error) {
	info, err := s.put(ctx, key, body, o)
	return info, opError("put", key, err)
}

func (s *S3) put(ctx context.Context, key string, body []byte, o PutOptions) (Info, error) {
	full, err := s.key(key)
	if err != nil {
		return Info{}, err
	}
	if o.CreateOnly && o.IfMatch != "" {
		return Info{}, errBothConditions
	}
	if int64(len(body)) > maxPut {
		return Info{}, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(body), maxPut)
	}
	sum := CRC64NVME(body)
	in := putInput(o.Attributes)
	in.Bucket, in.Key, in.Body, in.ContentLength = &s.bucket, &full, bytes.NewReader(body), aws.Int64(int64(len(body)))
	in.ChecksumCRC64NVME = &sum
	in.IfMatch = text(o.IfMatch)
	options := []func(*s3.Options){unsigned}
	if o.CreateOnly {
		in.IfNoneMatch = aws.String("*")
	}
	if o.CreateOnly || o.IfMatch != "" {
		options = append(options, retryRefused)
	}
	out, err := s.client.PutObject(ctx, in, options...)
	if err != nil {
		return Info{}, putError(ctx, err, o)
	}
	// A server that knows no CRC64NVME ignores it, and says nothing.
	if held := aws.ToString(out.ChecksumCRC64NVME); held != "" && held != sum {
		return Info{}, fmt.Errorf("%w: %w: sent %s, the store holds %s", ErrUnavailable, ErrChecksum, sum, held)
	}
	return Info{
		Key: key, Size: int64(len(body)), ETag: aws.ToString(out.ETag), Version: aws.ToString(out.VersionId),
		CRC64NVME: aws.ToString(out.ChecksumCRC64NVME), Attributes: o.Attributes,
	}, nil
}

// unsigned leaves the body out of the signature, and so spares its SHA-256. The
// checksum header is signed: over TLS nothing is lost. Over plain HTTP the SDK
// would hash it; who can change bytes on that way can also read them all, and is
// not held off by a signature that a chosen CRC goes around. Plain HTTP is for
// servers on the same machine.
func unsigned(o *s3.Options) {
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
}

// retryRefused has the SDK try again only where the server said that it did
// nothing. If a lost answer were tried again, the write would meet its own object
// and look like another's: ErrPrecondition instead of ErrUnavailable.
func retryRefused(o *s3.Options) {
	if o.Retryer == nil {
		o.Retryer = retry.NewStandard()
	}
	o.Retryer = onlyRefused{o.Retryer}
}

// onlyRefused is the client's own retryer but for what it tries again.
type onlyRefused struct{ aws.Retryer }

// IsErrorRetryable implements aws.Retryer.
func (onlyRefused) IsErrorRetryable(err error) bool {
	e, ok := errors.AsType[*smithyhttp.ResponseError](err)
	return ok && (e.HTTPStatusCode() == http.StatusServiceUnavailable || e.HTTPStatusCode() == http.StatusTooManyRequests)
}

// putError knows that If-Match on an object that is gone answers 404: to the
// writer it is a precondition that failed, and no longer ErrNotFound.
func putError(ctx context.Context, err error, o PutOptions) error {
	err = s3Error(ctx, err)
	if o.IfMatch != "" && errors.Is(err, ErrNotFound) {
		return absent(err)
	}
	return err
}

func putInput(a Attributes) *s3.PutObjectInput {
	return &s3.PutObjectInput{
		ContentType: text(a.ContentType), ContentEncoding: text(a.ContentEncoding),
		ContentDisposition: text(a.ContentDisposition), ContentLanguage: text(a.ContentLanguage),
		CacheControl: text(a.CacheControl), Metadata: a.Metadata, Tagging: tagging(a.Tags),
		StorageClass:         types.StorageClass(a.StorageClass),
		ServerSideEncryption: types.ServerSideEncryption(a.SSE), SSEKMSKeyId: text(a.SSEKMSKeyID),
	}
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
