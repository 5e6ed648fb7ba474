package store

import (
	"context"
	"io"
	"iter"
	"time"
)

// Attributes are what an object carries beside its bytes. A directory keeps
// none of them and guesses ContentType from the name.
type Attributes struct {
	ContentType        string
	ContentEncoding    string
	ContentDisposition string
	ContentLanguage    string
	CacheControl       string
	// Metadata is user metadata; S3 gives its names back in lower case.
	Metadata map[string]string
	Tags     map[string]string
	// StorageClass as S3 spells it; empty: STANDARD.
	StorageClass string
	// SSE is the server-side encryption, AES256 or aws:kms; empty: the bucket's.
	SSE         string
	SSEKMSKeyID string
}

// Info is an object without its bytes.
type Info struct {
	Key string
	// Size is the whole object's, also where a range of it is read.
	Size int64
	// ETag changes whenever the object does. It is opaque, and no digest.
	ETag string
	// Version is the version ID on a versioned bucket; else empty.
	Version  string
	Modified time.Time
	// CRC64NVME is the checksum that the store holds of the whole object, as
	// [CRC64NVME] spells it; empty where it is not known.
	CRC64NVME string
	// Attributes are filled by Stat and Get, not by List.
	Attributes Attributes
}

// GetOptions limit what is read. Zero: the whole object as it is.
type GetOptions struct {
	// IfMatch reads only an object that has this ETag.
	IfMatch string
	// Offset and Length name a range in bytes; Length 0 reads to the end.
	Offset, Length int64
}

// PutOptions say on which condition an object is written.
type PutOptions struct {
	// IfMatch replaces only an object that has this ETag.
	IfMatch string
	// CreateOnly writes only where there is no object. It excludes IfMatch.
	CreateOnly bool
	Attributes Attributes
}

// Reader reads objects. Its errors are *Error; they match a class of this
// package where they have one, and the error of the caller's context when that
// has ended.
type Reader interface {
	// Stat describes an object: ErrNotFound, ErrInvalidKey, ErrDenied,
	// ErrUnavailable.
	Stat(ctx context.Context, key string) (Info, error)

	// Get reads an object or a range of it. Besides Stat's errors: ErrPrecondition
	// (the ETag is another), ErrInvalidRange (it begins at or past the end; an
	// empty object read whole is no range), ErrArchived. The caller closes the
	// body, which lives no longer than ctx and may end early with an error of
	// class ErrUnavailable.
	Get(ctx context.Context, key string, o GetOptions) (Info, io.ReadCloser, error)

	// List yields the objects whose keys begin with a prefix in ascending order
	// of their keys' bytes, without holding them all. The prefix is one of text,
	// not of folders: a/b also names a/bc. After an error it yields no more. What
	// is written or deleted meanwhile may be seen or not.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
}

// Writer writes objects. Its errors are as Reader's.
type Writer interface {
	// Put writes the whole object or nothing, and returns when it is durable.
	// ErrPrecondition: an object stands there (CreateOnly), or none with that ETag
	// does (IfMatch, also when none at all does), and nothing was written.
	// ErrConflict: another write is under way, and nothing was written; try again.
	// ErrUnavailable: it is not known whether anything was written; look again.
	// ErrDenied, ErrInvalidKey.
	Put(ctx context.Context, key string, body []byte, o PutOptions) (Info, error)

	// Delete removes the object; an absent one is no error. On a versioned bucket
	// older versions stay.
	Delete(ctx context.Context, key string) error
}

// Store reads and writes objects. It is safe for concurrent use.
type Store interface {
	Reader
	Writer
}
