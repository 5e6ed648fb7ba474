package storetest

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

func putGet(t *testing.T, s store.Store) {
	before := time.Now().Add(-time.Minute)
	big := strings.Repeat("0123456789abcdef", 3<<16) // 3 MiB: several packets, several reads
	for key, body := range map[string]string{"a.bin": "one", "folder/of/b.m4s": big} {
		stored := put(t, s, key, body)
		if stored.Key != key || stored.Size != int64(len(body)) || stored.ETag == "" {
			t.Errorf("put %q returned %+v", key, stored)
		}
		if stored.CRC64NVME != "" && stored.CRC64NVME != store.CRC64NVME([]byte(body)) {
			t.Errorf("put %q: CRC64NVME %s, want %s", key, stored.CRC64NVME, store.CRC64NVME([]byte(body)))
		}
		holds(t, s, key, body)
		seen, err := s.Stat(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if seen.Key != key || seen.Size != stored.Size || seen.ETag != stored.ETag || seen.Version != stored.Version {
			t.Errorf("stat %q says %+v, put said %+v", key, seen, stored)
		}
		if seen.Modified.Before(before) || seen.Modified.After(time.Now().Add(time.Minute)) {
			t.Errorf("stat %q: modified %v", key, seen.Modified)
		}
		got, body, err := s.Get(t.Context(), key, store.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := body.Close(); err != nil { // unread
			t.Error(err)
		}
		if !reflect.DeepEqual(got, seen) {
			t.Errorf("get %q says\n%+v, stat\n%+v", key, got, seen)
		}
	}
	put(t, s, "a.bin", "replaced")
	holds(t, s, "a.bin", "replaced")
}

func emptyObject(t *testing.T, s store.Store) {
	put(t, s, "empty", "")
	holds(t, s, "empty", "")
	if got := keys(t, s, ""); len(got) != 1 {
		t.Errorf("listed %q", got)
	}
	b, info, err := store.ReadAll(t.Context(), s, "empty", "", 0, nil)
	if err != nil || len(b) != 0 || info.Size != 0 {
		t.Errorf("read %q, %+v, %v", b, info, err)
	}
	_, _, err = s.Get(t.Context(), "empty", store.GetOptions{Length: 1})
	refuses(t, err, store.ErrInvalidRange, "get", "empty")
}

func ranges(t *testing.T, s store.Store) {
	const whole = "0123456789"
	stored := put(t, s, "r", whole)
	for _, r := range []struct {
		offset, length int64
		want           string // none: ErrInvalidRange
	}{
		{0, 0, whole},
		{0, 1, "0"},
		{0, 10, whole},
		{0, 11, whole},
		{3, 4, "3456"},
		{9, 1, "9"},
		{9, 0, "9"},
		{4, 0, "456789"},
		{8, 1 << 40, "89"},
		{10, 0, ""},
		{10, 1, ""},
		{1 << 40, 5, ""},
		{-1, 0, ""},
		{0, -1, ""},
	} {
		t.Run(fmt.Sprintf("%d+%d", r.offset, r.length), func(t *testing.T) {
			o := store.GetOptions{Offset: r.offset, Length: r.length, IfMatch: stored.ETag}
			info, body, err := s.Get(t.Context(), "r", o)
			if r.want == "" {
				refuses(t, err, store.ErrInvalidRange, "get", "r")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(body)
			if err := errors.Join(err, body.Close()); err != nil {
				t.Error(err)
			}
			if string(got) != r.want || info.Size != int64(len(whole)) || info.ETag != stored.ETag {
				t.Errorf("got %q of %+v, want %q", got, info, r.want)
			}
			if info.CRC64NVME != "" && info.CRC64NVME != store.CRC64NVME([]byte(whole)) {
				t.Errorf("CRC64NVME %s is not the whole object's", info.CRC64NVME)
			}
		})
	}
}

func missing(t *testing.T, s store.Store) {
	put(t, s, "folder/object", "x")
	// Also a folder, and what stands below an object.
	for _, key := range []string{"no", "no/such/folder", "folder", "folder/object/below"} {
		_, err := s.Stat(t.Context(), key)
		refuses(t, err, store.ErrNotFound, "stat", key)
		_, body, err := s.Get(t.Context(), key, store.GetOptions{})
		refuses(t, err, store.ErrNotFound, "get", key)
		if body != nil {
			t.Errorf("get %q returned a body with its error", key)
		}
		_, _, err = s.Get(t.Context(), key, store.GetOptions{IfMatch: `"e"`, Offset: 5})
		refuses(t, err, store.ErrNotFound, "get", key)
		_, _, err = store.ReadAll(t.Context(), s, key, "", 100, nil)
		refuses(t, err, store.ErrNotFound, "get", key)
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("delete what is not there: %v", err)
		}
	}
	holds(t, s, "folder/object", "x")
	if got := keys(t, s, "none/of/these"); len(got) != 0 {
		t.Errorf("listed %q", got)
	}
}

func deletes(t *testing.T, s store.Store) {
	put(t, s, "d/one", "1")
	put(t, s, "d/two", "2")
	for range 2 {
		if err := s.Delete(t.Context(), "d/one"); err != nil {
			t.Fatal(err)
		}
		_, err := s.Stat(t.Context(), "d/one")
		refuses(t, err, store.ErrNotFound, "stat", "d/one")
	}
	if got := keys(t, s, ""); len(got) != 1 || got[0] != "d/two" {
		t.Errorf("left are %q", got)
	}
	if _, err := s.Put(t.Context(), "d/one", []byte("again"), store.PutOptions{CreateOnly: true}); err != nil {
		t.Errorf("create what was deleted: %v", err)
	}
	holds(t, s, "d/one", "again")
}

func attributes(t *testing.T, s store.Store, can store.Capabilities) {
	want := store.Attributes{
		ContentType: "application/vnd.apple.mpegurl", ContentEncoding: "gzip", ContentLanguage: "de, en",
		ContentDisposition: `attachment; filename="a b.m3u8"`, CacheControl: "public, max-age=31536000, immutable",
		Metadata:     map[string]string{"title": "A & B = c", "x-trace": "1"},
		Tags:         map[string]string{"class": "vod: live @ 5", "a+b": "c/d=e", "empty": ""},
		StorageClass: "REDUCED_REDUNDANCY",
	}
	// Not gzip at all: nothing may unpack it on the way.
	if _, err := s.Put(t.Context(), "a", []byte("#EXTM3U"), store.PutOptions{CreateOnly: true, Attributes: want}); err != nil {
		t.Fatal(err)
	}
	holds(t, s, "a", "#EXTM3U")
	seen, err := s.Stat(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if !can.Attributes {
		if !reflect.DeepEqual(seen.Attributes, store.Attributes{ContentType: seen.Attributes.ContentType}) {
			t.Errorf("kept %+v, though it can't", seen.Attributes)
		}
		return
	}
	if !can.StorageClass {
		want.StorageClass = ""
	}
	if !reflect.DeepEqual(seen.Attributes, want) {
		t.Errorf("kept\n%+v, want\n%+v", seen.Attributes, want)
	}
	// What was read is written back: a copy has the same.
	if _, err := s.Put(t.Context(), "copy", []byte("#EXTM3U"), store.PutOptions{Attributes: seen.Attributes}); err != nil {
		t.Fatal(err)
	}
	_, got, err := store.ReadAll(t.Context(), s, "copy", "", 100, nil)
	if err != nil || !reflect.DeepEqual(got.Attributes, want) {
		t.Errorf("copied\n%+v, want\n%+v, error %v", got.Attributes, want, err)
	}
	for info, err := range s.List(t.Context(), "") {
		if err != nil || !reflect.DeepEqual(info.Attributes, store.Attributes{}) {
			t.Errorf("listed with attributes: %+v, %v", info, err)
		}
	}
}

func checksums(t *testing.T, s store.Store, can store.Capabilities) {
	for key, body := range map[string]string{"empty": "", "nine": "123456789", "big": strings.Repeat("x", 1<<20)} {
		want := store.CRC64NVME([]byte(body))
		if got := put(t, s, key, body).CRC64NVME; got != want {
			t.Errorf("put %s says %q, want %q", key, got, want)
		}
		if !can.Checksum {
			want = ""
		}
		seen, err := s.Stat(t.Context(), key)
		if err != nil || seen.CRC64NVME != want {
			t.Errorf("stat %s says %q, want %q, error %v", key, seen.CRC64NVME, want, err)
		}
		_, got, err := store.ReadAll(t.Context(), s, key, "", 1<<20, nil)
		if err != nil || got.CRC64NVME != want {
			t.Errorf("get %s says %q, want %q, error %v", key, got.CRC64NVME, want, err)
		}
	}
}
