package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/store"
)

func oddKeys(t *testing.T, s store.Store) {
	odd := []string{
		"with space/ lead and trail /x", "plus+plus", "per%cent", "already%20escaped", "a%2Fb", "a/b", "%2f", "%", "%%", "+", " ", "#", "?", "a+b c%20d", "a&b=c?d#e;f,g", `quote"quote'`,
		"ümlaut/日本語/🎬.m3u8", "e\u0301 decomposed", "é composed", "tilde~", "dots...and..more", "..hidden", ".dot",
		"(brackets)[1]{2}<3>", "colon:at@dollar$", "*star", "back`tick", "caret^", "pipe|", "tab\there",
		"-dash", ".a/.b/...c", "\u00c5ngstr\u00f6m", "A\u030angstro\u0308m", "\u212bngstrom", "back\\slash", "\x7f", "&amp;", "\r\n", strings.Repeat("s", 255), strings.Repeat("long/", 150) + "end", "UPPER", "upper", "new\nline",
	}
	for _, key := range odd {
		put(t, s, key, key)
	}
	for _, key := range odd {
		holds(t, s, key, key)
		if info, err := s.Stat(t.Context(), key); err != nil || info.Key != key {
			t.Errorf("stat %q: %+v, %v", key, info, err)
		}
		if got := keys(t, s, key); !slices.Contains(got, key) {
			t.Errorf("list %q: %q", key, got)
		}
	}
	slices.Sort(odd)
	if got := keys(t, s, ""); !slices.Equal(got, odd) {
		t.Errorf("listed\n%q, want\n%q", got, odd)
	}
	for _, key := range odd {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if got := keys(t, s, ""); len(got) != 0 {
		t.Errorf("left are %q", got)
	}
}

// longestKey writes keys of the longest length, and one longer.
func longestKey(t *testing.T, s store.Store, longest int) {
	long := strings.Repeat("0123456789/\u00e9\u00e9/abc/", 1+longest/20)
	for n := longest - 1; n <= longest; n++ {
		key := strings.Repeat("x", n-len(long[:n-8])) + long[:n-8]
		key = strings.TrimSuffix(key, "/")
		key = strings.ToValidUTF8(key, "")
		key += strings.Repeat("z", n-len(key))
		if len(key) != n {
			t.Fatalf("%d bytes, want %d", len(key), n)
		}
		put(t, s, key, "long")
		holds(t, s, key, "long")
		if got := keys(t, s, key); !slices.Equal(got, []string{key}) {
			t.Errorf("listed %q", got)
		}
		for range 2 {
			if err := s.Delete(t.Context(), key); err != nil {
				t.Error(err)
			}
		}
		if n == longest {
			_, err := s.Put(t.Context(), key+"z", nil, store.PutOptions{})
			refuses(t, err, store.ErrInvalidKey, "put", key+"z")
		}
	}
}

// controlCharacters lists keys that XML 1.0 can't hold. Where the store can't
// spell them, it must not give other names instead.
func controlCharacters(t *testing.T, s store.Store, can store.Capabilities) {
	odd := []string{"c/\x01", "c/a\x1fb", "c/\uffff"}
	for _, key := range odd {
		put(t, s, key, key)
		holds(t, s, key, key)
	}
	if can.ControlCharacters {
		slices.Sort(odd)
		if got := keys(t, s, "c/"); !slices.Equal(got, odd) {
			t.Errorf("listed %q, want %q", got, odd)
		}
		return
	}
	n := 0
	for info, err := range s.List(t.Context(), "c/") {
		if n++; err == nil {
			t.Errorf("listed %q", info.Key)
		}
	}
	if n != 1 {
		t.Errorf("list yielded %d times, want one error", n)
	}
}

// RefusedKeys are keys that no store takes.
func RefusedKeys() []string {
	return []string{
		"", "/", "/etc/passwd", "//x", ".", "..", "./x", "../x", "../../etc/passwd", "a/../b", "a/..", "a/.", "a/./b",
		"a//b", "a/", "a/b/", "nul\x00byte", "not \xff UTF-8", "surrogate \xed\xa0\x80", ".rekey-tmp-x", "a/.rekey-tmp-x/b",
		strings.Repeat("s", 256), strings.Repeat("long/", 205) + "x",
	}
}

func refusedKeys(t *testing.T, s store.Store) {
	put(t, s, "a/b", "x")
	for _, key := range RefusedKeys() {
		_, err := s.Stat(t.Context(), key)
		refuses(t, err, store.ErrInvalidKey, "stat", key)
		_, _, err = s.Get(t.Context(), key, store.GetOptions{})
		refuses(t, err, store.ErrInvalidKey, "get", key)
		for _, o := range []store.PutOptions{{}, {CreateOnly: true}, {IfMatch: `"x"`}} {
			_, err = s.Put(t.Context(), key, []byte("x"), o)
			refuses(t, err, store.ErrInvalidKey, "put", key)
		}
		refuses(t, s.Delete(t.Context(), key), store.ErrInvalidKey, "delete", key)
	}
	for _, prefix := range []string{"/", "../", "a/../", "a/../b", "./", ".", "a/..", "a//", "a//b", "\x00", "\xff", strings.Repeat("p", 1025)} {
		n := 0
		for _, err := range s.List(t.Context(), prefix) {
			n++
			refuses(t, err, store.ErrInvalidKey, "list", prefix)
		}
		if n != 1 {
			t.Errorf("list %.40q yielded %d times, want one error", prefix, n)
		}
	}
	// An object is no folder. MinIO keeps this as a directory must; Amazon S3
	// would take the key.
	if _, err := s.Put(t.Context(), "a/b/c", []byte("x"), store.PutOptions{CreateOnly: true}); err != nil {
		refuses(t, err, store.ErrInvalidKey, "put", "a/b/c")
	}
	holds(t, s, "a/b", "x")
}

func listing(t *testing.T, s store.Store) {
	all := []string{
		"a", "a b/x", "a!/x", "a-/x", "a-b", "a.b/x", "a.mpd", "a0/x", "aa/b/c/d", "aa/b/c0", "aa/b-c", "aa/bc", "aa/b/c-d",
		"b/1", "b/10", "b/2", "c/.hidden/x", "c/..x", "é/x", "Z/x", "\U0001f3ac/x", "\uffee/x",
	}
	for _, key := range all {
		put(t, s, key, key)
	}
	slices.Sort(all)
	for _, prefix := range []string{
		"", "a", "a/", "a-", "aa", "aa/", "aa/b", "aa/b/", "aa/b/c", "aa/b/c/", "aa/bc", "aa/bcd", "b/1", "b/1/", "c/.h", "c/..x",
		"z", "none/at/all", "é", "\U0001f3ac/", "Z/x",
	} {
		var want []string
		for _, key := range all {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		if got := keys(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("list %q:\n%q, want\n%q", prefix, got, want)
		}
	}
	var got []string
	for v, err := range versioned(t, s).ListVersions(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v.Key)
	}
	if !slices.Equal(got, all) {
		t.Errorf("listed versions of\n%q, want\n%q", got, all)
	}
	for info, err := range s.List(t.Context(), "a") {
		if err != nil {
			t.Fatal(err)
		}
		seen, err := s.Stat(t.Context(), info.Key)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size != int64(len(info.Key)) || info.ETag != seen.ETag || info.Modified.Unix() != seen.Modified.Unix() {
			t.Errorf("listed %+v, stat says %+v", info, seen)
		}
	}
}

// listingMany goes over S3's 1000 keys a page, in one folder and in many.
func listingMany(t *testing.T, s store.Store) {
	var want []string
	for i := range 1100 {
		key := fmt.Sprintf("many/%05d.m4s", i)
		if i%50 == 0 {
			key = fmt.Sprintf("many/%05d/x", i)
		}
		want = append(want, key)
	}
	var wg sync.WaitGroup
	for some := range slices.Chunk(want, len(want)/rivals) {
		wg.Go(func() {
			for _, key := range some {
				if _, err := s.Put(t.Context(), key, nil, store.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := keys(t, s, "many/"); !slices.Equal(got, want) {
		t.Errorf("listed %d keys, want %d", len(got), len(want))
	}
}

func listingBrokenOff(t *testing.T, s store.Store) {
	for i := range 20 {
		put(t, s, fmt.Sprintf("%02d/%02d", i/5, i), "")
	}
	seen := 0
	for _, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 7 {
			break
		}
	}
	if seen != 7 {
		t.Errorf("saw %d", seen)
	}
	// What is deleted while it is listed may be seen or not, but is no error.
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), info.Key); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), info.Key[:3]+"19"); err != nil {
			t.Fatal(err)
		}
	}
	if got := keys(t, s, ""); len(got) != 0 {
		t.Errorf("left are %q", got)
	}
}
