package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"reflect"
)

// Capabilities are what a store was seen to do when Probe tried it.
type Capabilities struct {
	// CreateOnly and IfMatch: it refuses a write whose condition does not hold.
	CreateOnly, IfMatch bool
	// DeletedIsGone: to those conditions a deleted object is not there. On a
	// versioned bucket some servers take the version below the marker for it.
	DeletedIsGone bool
	// Checksum: Stat knows CRC64NVME. Without it PutOnce reads what stands.
	Checksum bool
	// Attributes: it gives back what Put was given but for StorageClass, and
	// StorageClass also that.
	Attributes, StorageClass bool
	// ControlCharacters: List names keys that hold characters that XML 1.0 has
	// not. Without it, a listing of such a key ends with an error.
	ControlCharacters bool
	// KeepsVersions: what is replaced or deleted stays until its version is.
	KeepsVersions bool
	// Uploads: it is an Uploader and Uploads, and lists the uploads for one key.
	// UploadsByPrefix: it lists those of all keys with a prefix; without it, who
	// looks for uploads must ask for each key.
	Uploads, UploadsByPrefix bool
}

// Lacks says, one sentence each, what the store lacks and what that means. Not to
// keep versions is no lack, nor is to need no uploads.
func (c Capabilities) Lacks() []string {
	var lacks []string
	for _, l := range []struct {
		has  bool
		text string
	}{
		{c.CreateOnly, "It overwrites where only creating was asked for: no rotation can run on it."},
		{c.IfMatch, "It overwrites what changed meanwhile: no rotation can run on it."},
		{c.DeletedIsGone, "It takes a deleted object for one that stands: no rotation can run on it; a bucket without versions may do."},
		{c.Checksum, "It keeps no CRC64NVME: what stands is read and compared instead."},
		{c.Attributes, "It does not keep content headers, metadata and tags: copies have none."},
		{c.StorageClass || !c.Attributes, "It does not keep storage classes."},
		{c.ControlCharacters, "It cannot list keys with control characters: a listing that meets one fails."},
		{c.UploadsByPrefix || !c.Uploads, "It does not list uploads by prefix: they are looked for key by key."},
	} {
		if !l.has {
			lacks = append(lacks, l.text)
		}
	}
	return lacks
}

// Check refuses a store on which conditional writes do not hold: leases, journals
// and pinned objects stand on them, and nothing else can take their place.
// ErrUnsupported.
func (c Capabilities) Check() error {
	if !c.CreateOnly || !c.IfMatch || !c.DeletedIsGone {
		return fmt.Errorf("%w: conditional writes (create-only %t, If-Match %t, on deleted objects %t)",
			ErrUnsupported, c.CreateOnly, c.IfMatch, c.DeletedIsGone)
	}
	return nil
}

// Probe tries what a store can do on objects of its own, named .rekey-probe-… in
// its root, and removes them, on a versioned bucket in every version. Errors: as
// Reader's and Writer's, where that is no answer about the store.
func Probe(ctx context.Context, s Store) (Capabilities, error) {
	p := prober{store: s, key: ".rekey-probe-" + rand.Text()}
	for _, ask := range []func(context.Context) error{p.attributes, p.conditions, p.versions, p.deleted, p.control, p.uploads} {
		if err := ask(ctx); err != nil {
			return Capabilities{}, errors.Join(fmt.Errorf("probe the store: %w", err), p.remove(ctx))
		}
	}
	return p.found, p.remove(ctx)
}

type prober struct {
	store Store
	key   string
	found Capabilities
}

// answered tells a store that refuses what it can't do from one that can't say.
func answered(err error) bool {
	for _, class := range []error{ErrUnavailable, ErrDenied, ErrConflict, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, class) {
			return false
		}
	}
	return true
}

// attributes also writes the first object, which the others build on.
func (p *prober) attributes(ctx context.Context) error {
	want := Attributes{
		ContentType: "text/x-probe", ContentEncoding: "identity", ContentDisposition: "inline", ContentLanguage: "en",
		CacheControl: "no-store", Metadata: map[string]string{"probe": "1"}, Tags: map[string]string{"probe": "1"},
		StorageClass: "REDUCED_REDUNDANCY",
	}
	_, err := p.store.Put(ctx, p.key, []byte("1"), PutOptions{Attributes: want})
	if err != nil && answered(err) {
		want = Attributes{}
		_, err = p.store.Put(ctx, p.key, []byte("1"), PutOptions{})
	}
	if err != nil {
		return err
	}
	info, err := p.store.Stat(ctx, p.key)
	if err != nil {
		return err
	}
	seen := info.Attributes
	p.found.Checksum = info.CRC64NVME == CRC64NVME([]byte("1"))
	kept := maps.Equal(seen.Tags, want.Tags) && maps.Equal(seen.Metadata, want.Metadata) && want.Tags != nil
	p.found.StorageClass = kept && seen.StorageClass == want.StorageClass
	seen.StorageClass, seen.SSE, seen.SSEKMSKeyID = want.StorageClass, "", "" // the bucket may have its own
	p.found.Attributes = kept && reflect.DeepEqual(seen, want)
	return nil
}

func (p *prober) conditions(ctx context.Context) error {
	var err error
	if p.found.CreateOnly, err = p.refused(ctx, PutOptions{CreateOnly: true}); err != nil {
		return err
	}
	if p.found.IfMatch, err = p.refused(ctx, PutOptions{IfMatch: `"00000000000000000000000000000000"`}); err != nil {
		return err
	}
	info, err := p.store.Stat(ctx, p.key)
	if err != nil {
		return err
	}
	_, err = p.store.Put(ctx, p.key, []byte("3"), PutOptions{IfMatch: info.ETag})
	if err != nil && !answered(err) {
		return err
	}
	p.found.IfMatch = p.found.IfMatch && err == nil
	return nil
}

// refused tries a write whose condition does not hold.
func (p *prober) refused(ctx context.Context, o PutOptions) (bool, error) {
	_, err := p.store.Put(ctx, p.key, []byte("2"), o)
	if err != nil && !answered(err) {
		return false, err
	}
	return errors.Is(err, ErrPrecondition), nil
}

// deleted tries both conditions on an object that was deleted.
func (p *prober) deleted(ctx context.Context) error {
	info, err := p.store.Stat(ctx, p.key)
	if err != nil {
		return err
	}
	if err := p.store.Delete(ctx, p.key); err != nil {
		return err
	}
	refused, err := p.refused(ctx, PutOptions{IfMatch: info.ETag})
	if err != nil {
		return err
	}
	_, err = p.store.Put(ctx, p.key, []byte("4"), PutOptions{CreateOnly: true})
	if err != nil && !answered(err) {
		return err
	}
	p.found.DeletedIsGone = refused && (err == nil || !p.found.CreateOnly)
	return nil
}

// versions looks what is left of the object that was replaced.
func (p *prober) versions(ctx context.Context) error {
	vs, ok := p.store.(Versions)
	if !ok {
		return nil
	}
	n := 0
	for _, err := range vs.ListVersions(ctx, p.key) {
		if err != nil {
			if answered(err) || errors.Is(err, ErrDenied) {
				return nil
			}
			return err
		}
		n++
	}
	p.found.KeepsVersions = n > 1
	return nil
}

func (p *prober) control(ctx context.Context) error {
	key := p.key + "\x01"
	put, err := p.store.Put(ctx, key, nil, PutOptions{})
	if err != nil && answered(err) {
		return nil
	}
	if err != nil {
		return err
	}
	names := 0
	for info, listErr := range p.store.List(ctx, key) {
		if listErr != nil && !answered(listErr) {
			err = listErr
		}
		if listErr == nil && info.Key == key {
			names++
		}
	}
	p.found.ControlCharacters = names == 1
	// By its ID: a marker in its place could not be found again.
	if vs, ok := p.store.(Versions); ok && put.Version != "" {
		return errors.Join(err, vs.DeleteVersion(ctx, key, put.Version))
	}
	return errors.Join(err, p.store.Delete(ctx, key))
}

func (p *prober) uploads(ctx context.Context) error {
	up, ok := p.store.(interface {
		Uploader
		Uploads
	})
	if !ok {
		return nil
	}
	id, err := up.BeginUpload(ctx, p.key, Attributes{})
	if err != nil {
		if answered(err) {
			return nil
		}
		return err
	}
	p.found.Uploads, err = listed(ctx, up, p.key, id)
	if err == nil {
		p.found.UploadsByPrefix, err = listed(ctx, up, p.key[:len(p.key)-1], id)
	}
	return errors.Join(err, up.AbortUpload(ctx, p.key, id))
}

func listed(ctx context.Context, up Uploads, prefix, id string) (bool, error) {
	found := false
	for u, err := range up.ListUploads(ctx, prefix) {
		if err != nil {
			if answered(err) {
				return false, nil
			}
			return false, err
		}
		found = found || u.ID == id
	}
	return found, nil
}

func (p *prober) remove(ctx context.Context) error {
	if err := p.store.Delete(ctx, p.key); err != nil {
		return err
	}
	vs, ok := p.store.(Versions)
	if !ok || !p.found.KeepsVersions {
		return nil
	}
	for v, err := range vs.ListVersions(ctx, p.key) {
		if err != nil {
			return err
		}
		if err := vs.DeleteVersion(ctx, v.Key, v.ID); err != nil {
			return err
		}
	}
	return nil
}
