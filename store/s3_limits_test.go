package store_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/store"
)

// A server that says of its objects that they are large; no byte of them is
// there but for those that are asked for.
func TestS3LargeObjects(t *testing.T) {
	const size = int64(5)<<40 + 1
	s, seen := answering(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Has("list-type"):
			_, _ = fmt.Fprintf(w, "<ListBucketResult><Contents><Key>pre/fix/k</Key><Size>%d</Size></Contents></ListBucketResult>", size)
		case r.Method == http.MethodHead:
			w.Header().Set("Content-Length", fmt.Sprint(size))
		default:
			var first, last int64
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, strings.Repeat("x", int(last-first+1)))
		}
	})
	info, err := s.Stat(t.Context(), "k")
	if err != nil || info.Size != size {
		t.Errorf("stat: %+v, %v", info, err)
	}
	for info, err := range s.List(t.Context(), "") {
		if err != nil || info.Size != size {
			t.Errorf("list: %+v, %v", info, err)
		}
	}
	for _, offset := range []int64{5<<30 - 2, 5 << 30, 1 << 32, size - 4} {
		info, body, err := s.Get(t.Context(), "k", store.GetOptions{Offset: offset, Length: 4})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil || string(b) != "xxxx" || info.Size != size {
			t.Errorf("get at %d: %q, %+v, %v", offset, b, info, err)
		}
	}
	last := seen()[len(seen())-1]
	if got, want := last.Header.Get("Range"), fmt.Sprintf("bytes=%d-%d", size-4, size-1); got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
}

func TestS3TooLarge(t *testing.T) {
	s, _ := answering(t, status(400, "EntityTooLarge"))
	if _, err := s.Put(t.Context(), "k", []byte("x"), store.PutOptions{}); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.PutPart(t.Context(), "k", "id", 1, []byte("x")); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("put part: %v", err)
	}
	// As a server may end Complete whose first byte is out: 200, and then an error.
	s, _ = answering(t, status(200, "InternalError"))
	_, err := s.CompleteUpload(t.Context(), "k", "id", []store.Part{{Number: 1, Size: 1, ETag: `"e"`}}, store.PutOptions{CreateOnly: true})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("complete: %v", err)
	}
}

func TestPartSize(t *testing.T) {
	const mib, tib = int64(1) << 20, int64(1) << 40
	for _, c := range []struct {
		size, least, want int64
		err               error
	}{
		{0, 0, 5 * mib, nil},
		{1, 8 * mib, 8 * mib, nil},
		{50000 * mib, 0, 5 * mib, nil},
		{50000*mib + 1, 0, 5*mib + 1, nil},
		{5 * tib, 0, (5*tib + 9999) / 10000, nil},
		{100, 1 << 50, store.MaxPart, nil},
		{5*tib + 1, 0, 0, store.ErrTooLarge},
	} {
		got, err := store.PartSize(c.size, c.least)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%d of at least %d: %d, %v, want %d, %v", c.size, c.least, got, err, c.want, c.err)
		}
		if err == nil && (c.size+got-1)/got > store.MaxParts {
			t.Errorf("%d in parts of %d are too many", c.size, got)
		}
	}
}

// The checksum of the whole is made of the parts', for sizes that no test sends.
func TestS3CompleteSendsTheWholeChecksum(t *testing.T) {
	whole := strings.Repeat("0123456789", 1000)
	for _, cuts := range [][]int{{0, 10000}, {0, 1, 10000}, {0, 5000, 5000, 9999, 10000}} {
		var parts []store.Part
		for i := range len(cuts) - 1 {
			piece := whole[cuts[i]:cuts[i+1]]
			parts = append(parts, store.Part{Number: i + 1, Size: int64(len(piece)), ETag: `"e"`, CRC64NVME: store.CRC64NVME([]byte(piece))})
		}
		s, seen := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")
		})
		if _, err := s.CompleteUpload(t.Context(), "k", "id", parts, store.PutOptions{CreateOnly: true}); err != nil {
			t.Fatal(err)
		}
		h := seen()[0].Header
		if h.Get("X-Amz-Checksum-Crc64nvme") != store.CRC64NVME([]byte(whole)) || h.Get("X-Amz-Checksum-Type") != "FULL_OBJECT" || h.Get("If-None-Match") != "*" {
			t.Errorf("cut at %v: sent %v", cuts, h)
		}
		parts[0].CRC64NVME = "" // then none is sent
		if _, err := s.CompleteUpload(t.Context(), "k", "id", parts, store.PutOptions{}); err != nil || seen()[1].Header.Get("X-Amz-Checksum-Crc64nvme") != "" {
			t.Errorf("error %v, sent %v", err, seen()[1].Header)
		}
	}
}
