// Package worker does one queued part: it reads each source object as the plan
// pinned it, rekeys it, proves the result and writes it create-only to its new
// name, then records the part. Doing a part twice, or by two workers at once,
// writes the same bytes and is harmless.
//
// It never decides anything: keys, names, numbers and source ETags are the
// plan's. It never touches a manifest, and deletes nothing but what the same part wrote
// of an asset that was cancelled meanwhile.
package worker
