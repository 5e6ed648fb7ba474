package storetest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/seed-6133abe0/rekey/store"
)

// versions lists, by key and ID.
func versions(t *testing.T, s store.Versions, prefix string) map[[2]string]store.Version {
	t.Helper()
	got, last := map[[2]string]store.Version{}, ""
	for v, err := range s.ListVersions(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		if v.Key < last {
			t.Errorf("list versions %q: %q comes after %q", prefix, v.Key, last)
		}
		last = v.Key
		id := [2]string{v.Key, v.ID}
		if _, twice := got[id]; twice || v.ID == "" {
			t.Errorf("listed again, or without an ID: %+v", v)
		}
		got[id] = v
	}
	return got
}

func versioned(t *testing.T, s store.Store) store.Versions {
	t.Helper()
	vs, ok := s.(store.Versions)
	if !ok {
		t.Fatalf("%T lists no versions", s)
	}
	return vs
}

// oneVersion is for stores that keep none.
func oneVersion(t *testing.T, s store.Store) {
	vs := versioned(t, s)
	put(t, s, "a/k", "first")
	second := put(t, s, "a/k", "second")
	put(t, s, "a/l", "")
	put(t, s, "ab", "")
	got := versions(t, vs, "a/")
	v := got[[2]string{"a/k", store.NullVersion}]
	if len(got) != 2 || !v.Current || v.Marker || v.Size != 6 || v.ETag != second.ETag || v.Modified.IsZero() {
		t.Errorf("listed %+v", got)
	}
	refuseVersions(t, vs)
	for range 2 {
		if err := vs.DeleteVersion(t.Context(), "a/k", store.NullVersion); err != nil {
			t.Error(err)
		}
	}
	if left := keys(t, s, ""); !slices.Equal(left, []string{"a/l", "ab"}) {
		t.Errorf("left are %q", left)
	}
}

func refuseVersions(t *testing.T, vs store.Versions) {
	t.Helper()
	if err := vs.DeleteVersion(t.Context(), "a/l", ""); err == nil {
		t.Error("an empty version ID was taken")
	}
	refuses(t, vs.DeleteVersion(t.Context(), "../x", "null"), store.ErrInvalidKey, "delete version", "../x")
	for _, err := range vs.ListVersions(t.Context(), "a/../") {
		refuses(t, err, store.ErrInvalidKey, "list versions", "a/../")
	}
}

// allVersions is for stores that keep them.
func allVersions(t *testing.T, s store.Store, can store.Capabilities) {
	vs := versioned(t, s)
	first := put(t, s, "a/k", "1")
	second, err := s.Put(t.Context(), "a/k", []byte("22"), store.PutOptions{IfMatch: first.ETag})
	if err != nil {
		t.Fatal(err)
	}
	third := overMarker(t, s, second, can)
	put(t, s, "a/odd +%2F#?\u00e9", "other")
	put(t, s, "ab", "other")

	var marker store.Version
	got := versions(t, vs, "a/k")
	for _, v := range got {
		if v.Marker {
			marker = v
		}
	}
	if marker.Current || marker.Size != 0 || len(got) != 4 {
		t.Fatalf("listed %+v", got)
	}
	for i, info := range []store.Info{first, second, third} {
		v := got[[2]string{"a/k", info.Version}]
		if v.Current != (i == 2) || v.Marker || v.Size != info.Size || v.ETag != info.ETag {
			t.Errorf("version %d is listed as %+v, put as %+v", i+1, v, info)
		}
	}
	if n := len(versions(t, vs, "a/")); n != 5 {
		t.Errorf("listed %d versions under a/", n)
	}
	refuseVersions(t, vs)
	deletesVersions(t, s, vs, []string{first.Version, second.Version, third.Version, marker.ID})
}

// overMarker deletes the object and puts another in its place. What a marker
// hides is not there, for the conditions of writes either, as Amazon S3 has it.
// Where the store can't tell, create-only fails; nothing is overwritten.
func overMarker(t *testing.T, s store.Store, hidden store.Info, can store.Capabilities) store.Info {
	t.Helper()
	if err := s.Delete(t.Context(), "a/k"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Stat(t.Context(), "a/k")
	refuses(t, err, store.ErrNotFound, "stat", "a/k")
	if !can.DeletedIsGone {
		_, err = s.Put(t.Context(), "a/k", []byte("333"), store.PutOptions{CreateOnly: true})
		refuses(t, err, store.ErrPrecondition, "put", "a/k")
		return put(t, s, "a/k", "333")
	}
	_, err = s.Put(t.Context(), "a/k", nil, store.PutOptions{IfMatch: hidden.ETag})
	refuses(t, err, store.ErrPrecondition, "put", "a/k")
	third, err := s.Put(t.Context(), "a/k", []byte("333"), store.PutOptions{CreateOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return third
}

func deletesVersions(t *testing.T, s store.Store, vs store.Versions, ids []string) {
	t.Helper()
	first, second, third, marker := ids[0], ids[1], ids[2], ids[3]
	for _, step := range []struct{ id, stands string }{
		{first, "333"}, {first, "333"}, {third, ""}, {marker, "22"}, {second, ""},
	} {
		if err := vs.DeleteVersion(t.Context(), "a/k", step.id); err != nil {
			t.Fatalf("version %q of %q: %v", step.id, ids, err)
		}
		if _, gone := versions(t, vs, "a/k")[[2]string{"a/k", step.id}]; gone {
			t.Errorf("version %s is still there", step.id)
		}
		if step.stands != "" {
			holds(t, s, "a/k", step.stands)
			continue
		}
		_, err := s.Stat(t.Context(), "a/k")
		refuses(t, err, store.ErrNotFound, "stat", "a/k")
	}
	// As a purge does: what is listed goes while it is listed.
	if err := s.Delete(t.Context(), "ab"); err != nil {
		t.Fatal(err)
	}
	for v, err := range vs.ListVersions(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if err := vs.DeleteVersion(t.Context(), v.Key, v.ID); err != nil {
			t.Error(err)
		}
	}
	if left := versions(t, vs, ""); len(left) != 0 {
		t.Errorf("left are %+v", left)
	}
}

// manyVersions lists over many pages, which end between keys and within them, and
// deletes what is listed while it is, as a purge does.
func manyVersions(t *testing.T, s store.Store) {
	vs := versioned(t, s)
	want := map[string]int{}
	for i := range 16 {
		key := fmt.Sprintf("many/%02d +%%2F/x.m4s", i)
		want[key] = 1 + i%5
		if i == 9 {
			want[key] = 20
		}
		for n := range want[key] {
			put(t, s, key, fmt.Sprint(n))
		}
		if i%3 == 0 {
			want[key]++
			if err := s.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(t, s, "other", "stays")
	got, current := map[string]int{}, 0
	for _, v := range versions(t, vs, "many/") {
		got[v.Key]++
		if v.Current {
			current++
		}
	}
	if !maps.Equal(got, want) || current != len(want) {
		t.Errorf("listed versions of %v, %d current, want %v", got, current, want)
	}
	for v, err := range vs.ListVersions(t.Context(), "many/") {
		if err != nil {
			t.Fatal(err)
		}
		if err := vs.DeleteVersion(t.Context(), v.Key, v.ID); err != nil {
			t.Fatal(err)
		}
		got[v.Key]--
	}
	for key, n := range got {
		if n != 0 {
			t.Errorf("%d versions of %s were not listed", n, key)
		}
	}
	if left := versions(t, vs, ""); len(left) != 1 {
		t.Errorf("left are %+v", left)
	}
}

// readVersioned reads a body whole after the version was replaced: it was opened
// before, and stays what it was.
func readVersioned(t *testing.T, s store.Store) {
	put(t, s, "k", "old")
	info, body, err := s.Get(t.Context(), "k", store.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", "new")
	b, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil || string(b) != "old" || info.Size != 3 {
		t.Errorf("read %q, %v", b, err)
	}
}
