package store

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	maxKey     = 1024 // S3's limit, in bytes of UTF-8
	maxSegment = 255  // NAME_MAX of the file systems that Dir stands on, and MinIO's limit

	// tempPrefix begins the names of files that Dir has not finished writing. No
	// key has a segment that begins so.
	tempPrefix = ".rekey-tmp-"
)

// CheckKey refuses keys that not every store can hold: empty, absolute or
// over-long ones, those that are not UTF-8 or hold NUL, and those with an empty,
// "." or ".." segment. The error is of class ErrInvalidKey.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: empty", ErrInvalidKey)
	}
	return checkText(key, key)
}

// checkPrefix is CheckKey for List, whose last segment may be cut anywhere,
// though not so that "." or ".." is left: MinIO refuses those.
func checkPrefix(prefix string) error {
	i := strings.LastIndexByte(prefix, '/')
	if last := prefix[i+1:]; last == "." || last == ".." {
		return fmt.Errorf("%w: path segment %q", ErrInvalidKey, last)
	}
	if i < 0 {
		return checkText(prefix, "x")
	}
	return checkText(prefix, prefix[:i])
}

// checkText checks the whole text, and the segments of path.
func checkText(text, path string) error {
	switch {
	case len(text) > maxKey:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrInvalidKey, len(text), maxKey)
	case strings.IndexByte(text, 0) >= 0:
		return fmt.Errorf("%w: NUL byte", ErrInvalidKey)
	case !utf8.ValidString(text):
		return fmt.Errorf("%w: not UTF-8", ErrInvalidKey)
	}
	for s := range strings.SplitSeq(path, "/") {
		switch {
		case s == "", s == ".", s == "..":
			return fmt.Errorf("%w: path segment %q", ErrInvalidKey, s)
		case len(s) > maxSegment:
			return fmt.Errorf("%w: path segment of %d bytes, at most %d", ErrInvalidKey, len(s), maxSegment)
		case strings.HasPrefix(s, tempPrefix):
			return fmt.Errorf("%w: path segment begins with %s", ErrInvalidKey, tempPrefix)
		}
	}
	return nil
}
