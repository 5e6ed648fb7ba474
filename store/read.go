package store

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Getter is the part of a Reader that ReadAll needs. Errors are the Reader's.
type Getter interface {
	Get(ctx context.Context, key string, o GetOptions) (Info, io.ReadCloser, error)
}

// ReadAll reads a whole object of at most limit bytes into buf's capacity, or
// into a new slice where that is too small. With an ETag it reads only that
// object. Besides Get's errors: ErrTooLarge over the limit; ErrUnavailable with
// ErrTruncated where fewer bytes came than the object has, and with ErrChecksum
// where they are not those that the store holds a checksum of (a directory holds
// none). Also on an error it returns what is known of the object.
func ReadAll(ctx context.Context, r Getter, key, ifMatch string, limit int64, buf []byte) ([]byte, Info, error) {
	info, body, err := r.Get(ctx, key, GetOptions{IfMatch: ifMatch})
	if err != nil {
		return nil, Info{}, err
	}
	b, err := readBody(ctx, body, info, limit, buf)
	if closeErr := body.Close(); err == nil && closeErr != nil {
		err = withClass(ctx, ErrUnavailable, closeErr)
	}
	if err != nil {
		return nil, info, opError("get", key, err)
	}
	return b, info, nil
}

func readBody(ctx context.Context, body io.Reader, info Info, limit int64, buf []byte) ([]byte, error) {
	if info.Size > limit {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, info.Size, limit)
	}
	if int64(cap(buf)) < info.Size {
		buf = make([]byte, info.Size)
	}
	buf = buf[:info.Size]
	n, err := io.ReadFull(body, buf)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: %w", ErrTruncated, io.ErrUnexpectedEOF)
		}
		return nil, withClass(ctx, ErrUnavailable, fmt.Errorf("read body: %d of %d bytes: %w", n, info.Size, err))
	}
	// To the end of the body: only then may its connection be used again.
	var more [1]byte
	switch n, err := io.ReadFull(body, more[:]); {
	case n > 0:
		return nil, withClass(ctx, ErrUnavailable, fmt.Errorf("read body: more than its %d bytes", info.Size))
	case !errors.Is(err, io.EOF):
		return nil, withClass(ctx, ErrUnavailable, fmt.Errorf("read body: %w", err))
	}
	if info.CRC64NVME != "" && info.CRC64NVME != CRC64NVME(buf) {
		return nil, withClass(ctx, ErrUnavailable, fmt.Errorf("read body: %w", ErrChecksum))
	}
	return buf, nil
}
