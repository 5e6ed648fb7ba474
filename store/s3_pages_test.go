package store_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/store"
)

// versionPages is a server that lists three versions a page, and from which they
// are deleted.
type versionPages struct {
	// inclusive gives the version that the marker names again.
	inclusive bool

	mu  sync.Mutex
	all [][2]string // key and ID, in order; an ID with a d is a marker's
}

func (p *versionPages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	if r.Method == http.MethodDelete {
		gone := [2]string{strings.TrimPrefix(r.URL.Path, "/bucket/pre/fix/"), q.Get("versionId")}
		p.all = slices.DeleteFunc(p.all, func(v [2]string) bool { return v == gone })
		w.WriteHeader(http.StatusNoContent)
		return
	}
	from := 0
	if marker := strings.TrimPrefix(q.Get("key-marker"), "pre/fix/"); marker != "" {
		// One that is gone is not found, and neither is what comes after it.
		from = slices.Index(p.all, [2]string{marker, q.Get("version-id-marker")})
		switch {
		case from < 0:
			from = len(p.all)
		case !p.inclusive:
			from++
		}
	}
	to := min(from+3, len(p.all))
	_, _ = fmt.Fprintf(w, "<ListVersionsResult><EncodingType>url</EncodingType><IsTruncated>%t</IsTruncated>", to < len(p.all))
	for _, v := range p.all[from:to] {
		element := "Version"
		if strings.Contains(v[1], "d") {
			element = "DeleteMarker"
		}
		_, _ = fmt.Fprintf(w, "<%s><Key>pre/fix/%s</Key><VersionId>%s</VersionId></%s>", element, url.QueryEscape(v[0]), v[1], element)
	}
	if to > 0 {
		last := p.all[to-1]
		_, _ = fmt.Fprintf(w, "<NextKeyMarker>pre/fix/%s</NextKeyMarker><NextVersionIdMarker>%s</NextVersionIdMarker>", url.QueryEscape(last[0]), last[1])
	}
	_, _ = fmt.Fprint(w, "</ListVersionsResult>")
}

// What is listed is deleted at once; nothing may be left, and nothing come twice,
// wherever a page ends.
func TestS3VersionPages(t *testing.T) {
	for _, inclusive := range []bool{false, true} {
		for shape := range 3 * 3 * 3 {
			pages := &versionPages{inclusive: inclusive}
			for i, key := range []string{"a +%2F", "a/b", "é"} {
				n := 1 + 3*(shape/[]int{1, 3, 9}[i]%3) - i%2
				for v := range n {
					pages.all = append(pages.all, [2]string{key, fmt.Sprintf("%d%s", v, []string{"", "d"}[v%2])})
				}
			}
			want := slices.Clone(pages.all)
			s, _ := answering(t, pages.ServeHTTP)
			var got [][2]string
			for v, err := range s.ListVersions(t.Context(), "") {
				if err != nil {
					t.Fatalf("shape %d: %v", shape, err)
				}
				if v.Marker != strings.Contains(v.ID, "d") {
					t.Errorf("shape %d: %+v", shape, v)
				}
				got = append(got, [2]string{v.Key, v.ID})
				if err := s.DeleteVersion(t.Context(), v.Key, v.ID); err != nil {
					t.Fatal(err)
				}
			}
			slices.SortFunc(got, compareVersions)
			slices.SortFunc(want, compareVersions)
			if !slices.Equal(got, want) || len(pages.all) != 0 {
				t.Errorf("shape %d, inclusive %t: listed %v, want %v, left %v", shape, inclusive, got, want, pages.all)
			}
		}
	}
}

func compareVersions(a, b [2]string) int { return strings.Compare(a[0]+" "+a[1], b[0]+" "+b[1]) }

func TestS3ListingsThatCantBe(t *testing.T) {
	version := func(keys ...string) string {
		var b strings.Builder
		for i, key := range keys {
			fmt.Fprintf(&b, "<Version><Key>pre/fix/%s</Key><VersionId>%d</VersionId></Version>", key, i)
		}
		return b.String()
	}
	for name, pages := range map[string][2]string{
		"out of order in a page":  {version("b", "a"), ""},
		"out of order over pages": {version("b") + "<IsTruncated>true</IsTruncated><NextKeyMarker>pre/fix/b</NextKeyMarker>", version("a")},
		"without an end": {
			version("b") + "<IsTruncated>true</IsTruncated><NextKeyMarker>pre/fix/b</NextKeyMarker>",
			version("c") + "<IsTruncated>true</IsTruncated><NextKeyMarker>pre/fix/b</NextKeyMarker>",
		},
	} {
		s, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
			page := pages[0]
			if r.URL.Query().Has("key-marker") {
				page = pages[1]
			}
			_, _ = fmt.Fprintf(w, "<ListVersionsResult>%s</ListVersionsResult>", page)
		})
		var last error
		n := 0
		for _, err := range s.ListVersions(t.Context(), "") {
			last = err
			n++
		}
		if last == nil || n > 3 {
			t.Errorf("%s: yielded %d times, error %v", name, n, last)
		}
	}
}

// Uploads that are listed are aborted at once; the markers are sent as names are.
func TestS3UploadPages(t *testing.T) {
	var markers []string
	s, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		marker := q.Get("key-marker") + " " + q.Get("upload-id-marker")
		markers = append(markers, marker)
		page, ok := map[string][]string{
			" ":                {"a+b%252F 1", "a+b%252F 2"}, // one key fills the page,
			"pre/fix/a b%2F 2": {"a+b%252F 3", "c 4"},        // then its last, and another's first,
			"pre/fix/a b%2F ":  {"c 4", "c 5"},               // which comes again,
			"pre/fix/c 5":      {"d 6"},                      // and fills one
		}[marker]
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprintf(w, "<ListMultipartUploadsResult><EncodingType>url</EncodingType><IsTruncated>%t</IsTruncated>", len(page) > 1)
		for _, u := range page {
			key, id, _ := strings.Cut(u, " ")
			_, _ = fmt.Fprintf(w, "<Upload><Key>pre/fix/%s</Key><UploadId>%s</UploadId></Upload>"+
				"<NextKeyMarker>pre/fix/%s</NextKeyMarker><NextUploadIdMarker>%s</NextUploadIdMarker>", key, id, key, id)
		}
		_, _ = io.WriteString(w, "</ListMultipartUploadsResult>")
	})
	var got []store.Upload
	for u, err := range s.ListUploads(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, store.Upload{Key: u.Key, ID: u.ID})
		if err := s.AbortUpload(t.Context(), u.Key, u.ID); err != nil {
			t.Fatal(err)
		}
	}
	want := []store.Upload{{Key: "a b%2F", ID: "1"}, {Key: "a b%2F", ID: "2"}, {Key: "a b%2F", ID: "3"}, {Key: "c", ID: "4"}, {Key: "c", ID: "5"}, {Key: "d", ID: "6"}}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v, with the markers %q", got, want, markers)
	}
}
