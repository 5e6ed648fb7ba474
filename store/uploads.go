package store

import (
	"context"
	"fmt"
	"iter"
	"time"
)

const (
	// MinPart is what every part of an upload but the last must have at least, and
	// MaxPart what any may have at most, in bytes; see Amazon S3 multipart upload
	// limits.
	MinPart = 5 << 20
	MaxPart = 5 << 30
	// MaxParts is how many parts an upload may have.
	MaxParts = 10000
	// MaxUpload is the largest object that can be uploaded in parts, in bytes.
	MaxUpload = 5 << 40
)

// PartSize is the size of the parts, but for the last, in which an object of the
// given size is uploaded: least, or more where there would be too many of them.
// ErrTooLarge over MaxUpload.
func PartSize(size, least int64) (int64, error) {
	if size > MaxUpload {
		return 0, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, size, int64(MaxUpload))
	}
	fewest := (size + MaxParts - 1) / MaxParts
	return min(max(least, fewest, MinPart), MaxPart), nil
}

// Part is one uploaded part.
type Part struct {
	Number int // 1 to MaxParts
	Size   int64
	ETag   string
	// CRC64NVME is the part's checksum; empty where the store does not tell it.
	CRC64NVME string
}

// Upload is an upload that was begun and neither completed nor aborted. Its parts
// are kept, and paid for, until then.
type Upload struct {
	Key, ID string
	Begun   time.Time
}

// Uploader writes one object in parts. Its errors are as Writer's; ErrNotFound
// stands for an upload that is not there (any more).
type Uploader interface {
	// BeginUpload begins one and returns its ID. Nothing stands under the key
	// before it is completed.
	BeginUpload(ctx context.Context, key string, a Attributes) (id string, err error)

	// PutPart uploads a part, or replaces it. ErrTooLarge over MaxPart.
	PutPart(ctx context.Context, key, id string, number int, body []byte) (Part, error)

	// ListParts yields the parts that were uploaded, by ascending numbers.
	ListParts(ctx context.Context, key, id string) iter.Seq2[Part, error]

	// CompleteUpload makes the object of the parts, whose numbers ascend, on o's
	// condition; o's Attributes are not looked at. Where every part has its
	// checksum, the store must come to the same one of the whole. Errors as Put's,
	// but: on ErrConflict begin another upload; on ErrUnavailable look whether the
	// object stands, and on ErrPrecondition abort.
	CompleteUpload(ctx context.Context, key, id string, parts []Part, o PutOptions) (Info, error)
}

// Uploads lists and aborts uploads. Its errors are as Reader's.
type Uploads interface {
	// ListUploads yields the uploads for keys that begin with the prefix. Where
	// the store does not list them by prefix (Capabilities.UploadsByPrefix), it
	// yields those for the key that is the prefix, and no others. Who aborts what it
	// yields lists again until it yields nothing.
	ListUploads(ctx context.Context, prefix string) iter.Seq2[Upload, error]

	// AbortUpload ends an upload and removes its parts; an absent one is no error.
	// A part that is on its way meanwhile may stay: list again.
	AbortUpload(ctx context.Context, key, id string) error
}
