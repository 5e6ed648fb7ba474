package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/store"
)

// uploader is a store that takes objects in parts.
type uploader interface {
	store.Store
	store.Uploader
	store.Uploads
}

func uploading(t *testing.T, s store.Store) uploader {
	t.Helper()
	up, ok := s.(uploader)
	if !ok {
		t.Fatalf("%T takes no uploads", s)
	}
	return up
}

func begin(t *testing.T, up uploader, key string, a store.Attributes) string {
	t.Helper()
	id, err := up.BeginUpload(t.Context(), key, a)
	if err != nil || id == "" {
		t.Fatalf("begin upload: %q, %v", id, err)
	}
	return id
}

func putPart(t *testing.T, up uploader, key, id string, number int, body []byte) store.Part {
	t.Helper()
	p, err := up.PutPart(t.Context(), key, id, number, body)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pending are the IDs of the uploads that are listed, by key.
func pending(t *testing.T, up uploader, prefix string) map[string][]string {
	t.Helper()
	got := map[string][]string{}
	for u, err := range up.ListUploads(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Begun.IsZero() {
			t.Errorf("%+v was begun at no time", u)
		}
		got[u.Key] = append(got[u.Key], u.ID)
	}
	for key := range got {
		slices.Sort(got[key])
	}
	return got
}

func uploaded(t *testing.T, s store.Store, want store.Capabilities) {
	up := uploading(t, s)
	const key = "up/film +%2F#.mp4"
	a := store.Attributes{
		ContentType: "video/mp4", CacheControl: "max-age=1", ContentLanguage: "en", ContentDisposition: "inline",
		Metadata: map[string]string{"title": "A & B"}, Tags: map[string]string{"a b": "c=d"},
	}
	id := begin(t, up, key, a)
	bodies := [][]byte{bytes.Repeat([]byte("0123456789abcdef"), store.MinPart/16), bytes.Repeat([]byte("x"), store.MinPart+1), []byte("end")}
	parts := make([]store.Part, len(bodies))
	for _, i := range []int{2, 0, 1} {
		parts[i] = putPart(t, up, key, id, 2*i+1, bodies[i])
	}
	if _, err := up.Stat(t.Context(), key); !errors.Is(err, store.ErrNotFound) || len(keys(t, up, "")) != 0 {
		t.Errorf("it stands before it is completed: %v", err)
	}
	if got := pending(t, up, key); !reflect.DeepEqual(got, map[string][]string{key: {id}}) {
		t.Errorf("listed %v, want %s", got, id)
	}
	listedParts(t, up, key, id, parts)
	info, err := up.CompleteUpload(t.Context(), key, id, parts, store.PutOptions{CreateOnly: true})
	whole := bytes.Join(bodies, nil)
	if err != nil || info.Size != int64(len(whole)) {
		t.Fatalf("complete upload: %+v, %v", info, err)
	}
	b, got, err := store.ReadAll(t.Context(), up, key, info.ETag, 1<<30, nil)
	if err != nil || !bytes.Equal(b, whole) || !reflect.DeepEqual(got.Attributes, a) {
		t.Errorf("read %d bytes with %+v, %v", len(b), got.Attributes, err)
	}
	if want.Checksum && (got.CRC64NVME != store.CRC64NVME(whole) || info.CRC64NVME != got.CRC64NVME) {
		t.Errorf("checksum %q, completed with %q, want %q", got.CRC64NVME, info.CRC64NVME, store.CRC64NVME(whole))
	}
	if left := pending(t, up, key); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
	ended(t, up, key, id)
}

func listedParts(t *testing.T, up uploader, key, id string, want []store.Part) {
	t.Helper()
	var got []store.Part
	for p, err := range up.ListParts(t.Context(), key, id) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("listed parts\n%+v, want\n%+v", got, want)
	}
}

// ended checks that the upload is no more.
func ended(t *testing.T, up uploader, key, id string) {
	t.Helper()
	_, err := up.PutPart(t.Context(), key, id, 1, []byte("late"))
	refuses(t, err, store.ErrNotFound, "put part", key)
	n := 0
	for _, err := range up.ListParts(t.Context(), key, id) {
		n++
		refuses(t, err, store.ErrNotFound, "list parts", key)
	}
	if n != 1 {
		t.Errorf("list parts yielded %d times", n)
	}
	if err := up.AbortUpload(t.Context(), key, id); err != nil {
		t.Errorf("abort what is not there: %v", err)
	}
}

func uploadConditions(t *testing.T, s store.Store) {
	up := uploading(t, s)
	old := put(t, up, "k", "old")
	for _, o := range []store.PutOptions{{CreateOnly: true}, {IfMatch: `"00000000000000000000000000000000"`}} {
		id := begin(t, up, "k", store.Attributes{})
		part := putPart(t, up, "k", id, 1, []byte("new"))
		_, err := up.CompleteUpload(t.Context(), "k", id, []store.Part{part}, o)
		refuses(t, err, store.ErrPrecondition, "complete upload", "k")
		holds(t, up, "k", "old")
		if err := up.AbortUpload(t.Context(), "k", id); err != nil {
			t.Error(err)
		}
	}
	id := begin(t, up, "k", store.Attributes{})
	part := putPart(t, up, "k", id, 1, []byte("new"))
	if _, err := up.CompleteUpload(t.Context(), "k", id, []store.Part{part}, store.PutOptions{IfMatch: old.ETag}); err != nil {
		t.Error(err)
	}
	holds(t, up, "k", "new")
	id = begin(t, up, "none", store.Attributes{})
	part = putPart(t, up, "none", id, 1, []byte("new"))
	_, err := up.CompleteUpload(t.Context(), "none", id, []store.Part{part}, store.PutOptions{IfMatch: old.ETag})
	refuses(t, err, store.ErrPrecondition, "complete upload", "none")
	for _, wrong := range []func(*store.Part){
		func(p *store.Part) { p.ETag = `"00000000000000000000000000000000"` },
		func(p *store.Part) { p.CRC64NVME = store.CRC64NVME([]byte("old")) },
		func(p *store.Part) { p.Number = 2 },
	} {
		p := part
		wrong(&p)
		if _, err := up.CompleteUpload(t.Context(), "none", id, []store.Part{p}, store.PutOptions{}); err == nil {
			t.Errorf("completed of %+v, which is not %+v", p, part)
		}
	}
	_, err = up.Stat(t.Context(), "none")
	refuses(t, err, store.ErrNotFound, "stat", "none")
}

func raceComplete(t *testing.T, s store.Store) {
	up := uploading(t, s)
	ids, parts := make([]string, rivals), make([]store.Part, rivals)
	for i := range rivals {
		ids[i] = begin(t, up, "k", store.Attributes{})
		parts[i] = putPart(t, up, "k", ids[i], 1, rivalBody(0, i))
	}
	errs := make([]error, rivals)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range rivals {
		wg.Go(func() {
			<-start
			_, errs[i] = up.CompleteUpload(t.Context(), "k", ids[i], parts[i:i+1], store.PutOptions{CreateOnly: true})
		})
	}
	close(start)
	wg.Wait()
	winners := 0
	for i, err := range errs {
		switch {
		case err == nil:
			winners++
			holds(t, up, "k", string(rivalBody(0, i)))
		case !errors.Is(err, store.ErrPrecondition) && !errors.Is(err, store.ErrConflict):
			t.Errorf("writer %d: %v", i, err)
		}
	}
	if winners != 1 {
		t.Errorf("%d of %d uploads were completed, want 1", winners, rivals)
	}
}

// abortedUploads lists and aborts what was left, as a purge does.
func abortedUploads(t *testing.T, s store.Store, want store.Capabilities) {
	up := uploading(t, s)
	all := map[string][]string{}
	for _, key := range []string{"up/a", "up/a", "up/b c+d%", "up", "upper/a"} {
		id := begin(t, up, key, store.Attributes{})
		putPart(t, up, key, id, 1, []byte(key))
		all[key] = append(all[key], id)
		slices.Sort(all[key])
	}
	under := map[string][]string{"up/a": all["up/a"], "up/b c+d%": all["up/b c+d%"]}
	if want.UploadsByPrefix {
		if got := pending(t, up, "up/"); !reflect.DeepEqual(got, under) {
			t.Errorf("listed %v, want %v", got, under)
		}
		if got := pending(t, up, ""); !reflect.DeepEqual(got, all) {
			t.Errorf("listed %v, want %v", got, all)
		}
	}
	for key, ids := range under {
		if got := pending(t, up, key); !slices.Equal(got[key], ids) {
			t.Errorf("listed %v, want %v", got, ids)
		}
		for _, id := range ids {
			if err := up.AbortUpload(t.Context(), key, id); err != nil {
				t.Error(err)
			}
			ended(t, up, key, id)
		}
		if got := pending(t, up, key); len(got) != 0 {
			t.Errorf("left are %v", got)
		}
	}
	for _, key := range []string{"up", "upper/a"} {
		if got := pending(t, up, key)[key]; !slices.Equal(got, all[key]) {
			t.Errorf("of others %v is left, want %v", got, all[key])
		}
	}
	if got := keys(t, up, ""); len(got) != 0 {
		t.Errorf("uploads left the objects %q", got)
	}
	refusedUploads(t, up, all["up"][0])
}

// refusedUploads tries keys and part numbers that can't be.
func refusedUploads(t *testing.T, up uploader, id string) {
	t.Helper()
	for _, key := range []string{"../x", ""} {
		refuses(t, up.AbortUpload(t.Context(), key, "id"), store.ErrInvalidKey, "abort upload", key)
		_, err := up.BeginUpload(t.Context(), key, store.Attributes{})
		refuses(t, err, store.ErrInvalidKey, "begin upload", key)
	}
	for _, number := range []int{-1, 0, store.MaxParts + 1} {
		_, err := up.PutPart(t.Context(), "up", id, number, nil)
		if !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("part %d: %v", number, err)
		}
	}
}

// manyParts lists over many pages.
func manyParts(t *testing.T, s store.Store) {
	up := uploading(t, s)
	id := begin(t, up, "k", store.Attributes{})
	parts := make([]store.Part, 40)
	var wg sync.WaitGroup
	for first := range rivals {
		wg.Go(func() {
			for i := first; i < len(parts); i += rivals {
				var err error
				if parts[i], err = up.PutPart(t.Context(), "k", id, i+1, fmt.Appendf(nil, "%d", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	listedParts(t, up, "k", id, parts)
	if err := up.AbortUpload(t.Context(), "k", id); err != nil {
		t.Error(err)
	}
	ended(t, up, "k", id)
}

// manyUploads lists over many pages, and aborts what is listed while it is. A
// listing may miss some then: it is made until it yields nothing. Where uploads
// are listed by prefix, no key fills a page: a server that then refuses to go on
// is heard.
func manyUploads(t *testing.T, s store.Store, want store.Capabilities) {
	up := uploading(t, s)
	each := 10
	if want.UploadsByPrefix {
		each = 3
	}
	all := map[string][]string{}
	for i := range 30 {
		key := fmt.Sprintf("up/%02d +%%2F", i/each)
		all[key] = append(all[key], begin(t, up, key, store.Attributes{}))
	}
	prefixes := slices.Sorted(maps.Keys(all))
	if want.UploadsByPrefix {
		prefixes = []string{"up/"}
	}
	aborted := 0
	for _, prefix := range prefixes {
		for n := 1; n > 0; aborted += n {
			n = 0
			for u, err := range up.ListUploads(t.Context(), prefix) {
				if err != nil {
					t.Fatal(err)
				}
				n++
				if err := up.AbortUpload(t.Context(), u.Key, u.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if aborted != 30 {
		t.Errorf("aborted %d uploads, want 30", aborted)
	}
	for key, ids := range all {
		for _, id := range ids {
			ended(t, up, key, id)
		}
	}
}
