package store

import (
	"bytes"
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// BeginUpload implements Uploader.
func (s *S3) BeginUpload(ctx context.Context, key string, a Attributes) (string, error) {
	id, err := s.beginUpload(ctx, key, a)
	return id, opError("begin upload", key, err)
}

func (s *S3) beginUpload(ctx context.Context, key string, a Attributes) (string, error) {
	full, err := s.key(key)
	if err != nil {
		return "", err
	}
	out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.bucket, Key: &full,
		ContentType: text(a.ContentType), ContentEncoding: text(a.ContentEncoding),
		ContentDisposition: text(a.ContentDisposition), ContentLanguage: text(a.ContentLanguage),
		CacheControl: text(a.CacheControl), Metadata: a.Metadata, Tagging: tagging(a.Tags),
		StorageClass:         types.StorageClass(a.StorageClass),
		ServerSideEncryption: types.ServerSideEncryption(a.SSE), SSEKMSKeyId: text(a.SSEKMSKeyID),
		// One checksum of the whole object, as of one that was put in one request.
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject,
	})
	if err != nil {
		return "", s3Error(ctx, err)
	}
	if aws.ToString(out.UploadId) == "" {
		return "", fmt.Errorf("%w: response without an upload ID", ErrUnavailable)
	}
	return *out.UploadId, nil
}

// PutPart implements Uploader.
func (s *S3) PutPart(ctx context.Context, key, id string, number int, body []byte) (Part, error) {
	part, err := s.putPart(ctx, key, id, number, body)
	return part, opError("put part", key, err)
}

func (s *S3) putPart(ctx context.Context, key, id string, number int, body []byte) (Part, error) {
	full, err := s.key(key)
	if err != nil {
		return Part{}, err
	}
	if number < 1 || number > MaxParts {
		return Part{}, fmt.Errorf("%w: part number %d, at most %d", ErrTooLarge, number, MaxParts)
	}
	if int64(len(body)) > MaxPart {
		return Part{}, fmt.Errorf("%w: part of %d bytes, limit %d", ErrTooLarge, len(body), int64(MaxPart))
	}
	sum := CRC64NVME(body)
	out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.bucket, Key: &full, UploadId: &id, PartNumber: aws.Int32(int32(number)), //nolint:gosec // at most MaxParts
		Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))), ChecksumCRC64NVME: &sum,
	}, unsigned)
	if err != nil {
		return Part{}, s3Error(ctx, err)
	}
	if held := aws.ToString(out.ChecksumCRC64NVME); held != "" && held != sum {
		return Part{}, fmt.Errorf("%w: %w: sent %s, the store holds %s", ErrUnavailable, ErrChecksum, sum, held)
	}
	return Part{Number: number, Size: int64(len(body)), ETag: aws.ToString(out.ETag), CRC64NVME: sum}, nil
}

// CompleteUpload implements Uploader.
func (s *S3) CompleteUpload(ctx context.Context, key, id string, parts []Part, o PutOptions) (Info, error) {
	info, err := s.completeUpload(ctx, key, id, parts, o)
	return info, opError("complete upload", key, err)
}

func (s *S3) completeUpload(ctx context.Context, key, id string, parts []Part, o PutOptions) (Info, error) {
	full, err := s.key(key)
	if err != nil {
		return Info{}, err
	}
	if o.CreateOnly && o.IfMatch != "" {
		return Info{}, errBothConditions
	}
	in := &s3.CompleteMultipartUploadInput{Bucket: &s.bucket, Key: &full, UploadId: &id, IfMatch: text(o.IfMatch)}
	if o.CreateOnly {
		in.IfNoneMatch = aws.String("*")
	}
	size, whole := int64(0), wholeCRC(parts)
	in.MultipartUpload = &types.CompletedMultipartUpload{Parts: make([]types.CompletedPart, 0, len(parts))}
	for _, p := range parts {
		size += p.Size
		in.MultipartUpload.Parts = append(in.MultipartUpload.Parts, types.CompletedPart{
			PartNumber: aws.Int32(int32(p.Number)), ETag: &p.ETag, ChecksumCRC64NVME: text(p.CRC64NVME), //nolint:gosec // at most MaxParts
		})
	}
	if whole != "" {
		in.ChecksumCRC64NVME, in.ChecksumType = &whole, types.ChecksumTypeFullObject
	}
	// Sent again after a lost answer, it would meet its own object, or no upload.
	out, err := s.client.CompleteMultipartUpload(ctx, in, retryRefused)
	if err != nil {
		return Info{}, putError(ctx, err, o)
	}
	if held := aws.ToString(out.ChecksumCRC64NVME); held != "" && whole != "" && held != whole {
		return Info{}, fmt.Errorf("%w: %w: sent %s, the store holds %s", ErrUnavailable, ErrChecksum, whole, held)
	}
	return Info{
		Key: key, Size: size, ETag: aws.ToString(out.ETag), Version: aws.ToString(out.VersionId),
		CRC64NVME: aws.ToString(out.ChecksumCRC64NVME),
	}, nil
}
