package store

import (
	"context"
	"iter"
	"time"
)

// NullVersion is the ID of the only version of an object in a store that keeps
// none, as S3 spells it.
const NullVersion = "null"

// Version is one version of an object, or a delete marker: what a Delete leaves
// on a versioned bucket in the object's place.
type Version struct {
	Key, ID string
	// Current: it is what Stat and Get see; a current marker is why they see nothing.
	Current bool
	Marker  bool
	// Size and ETag are empty for a marker.
	Size     int64
	ETag     string
	Modified time.Time
}

// Versions lists and deletes versions. Its errors are as Reader's. Every store of
// this package is one; a store that keeps no versions has one of each object,
// named NullVersion.
type Versions interface {
	// ListVersions yields every version and every marker of the objects whose keys
	// begin with the prefix, in ascending order of keys, those of one key in no
	// certain order. It holds those of one key at a time. What it yields may be
	// deleted meanwhile.
	ListVersions(ctx context.Context, prefix string) iter.Seq2[Version, error]

	// DeleteVersion removes one version or marker for good; an absent one is no
	// error. If it was the current one, the one before becomes current. An empty
	// ID, which to S3 means Delete, is refused; one that this store never gave may
	// be.
	DeleteVersion(ctx context.Context, key, id string) error
}
