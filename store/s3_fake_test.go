package store_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/seed-6133abe0/rekey/store"
)

// answering is an S3 whose server is the handler: for answers that MinIO can't
// be brought to give. The requests are kept.
func answering(t *testing.T, h http.HandlerFunc) (*store.S3, func() []*http.Request) {
	t.Helper()
	var mu sync.Mutex
	var seen []*http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		seen = append(seen, r)
		mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(server.Close)
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(server.URL), Region: "eu-west-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("access", "secret", ""),
	})
	return store.NewS3(client, "bucket", "pre/fix"), func() []*http.Request {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// status answers with an S3 error; without a code, as to a HEAD, with no body.
func status(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		if code != "" {
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>m</Message></Error>", code)
		}
	}
}

func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func TestS3ErrorClasses(t *testing.T) {
	classes := []error{
		store.ErrNotFound, store.ErrPrecondition, store.ErrConflict, store.ErrDenied, store.ErrInvalidKey,
		store.ErrInvalidRange, store.ErrArchived, store.ErrUnavailable, store.ErrTooLarge,
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   error // nil: none of them
	}{
		"404 NoSuchKey":                  {status(404, "NoSuchKey"), store.ErrNotFound},
		"404 NoSuchBucket":               {status(404, "NoSuchBucket"), store.ErrDenied},
		"404":                            {status(404, ""), store.ErrNotFound},
		"412":                            {status(412, "PreconditionFailed"), store.ErrPrecondition},
		"409 ConditionalRequestConflict": {status(409, "ConditionalRequestConflict"), store.ErrConflict},
		"409 OperationAborted":           {status(409, "OperationAborted"), store.ErrConflict},
		"403 AccessDenied":               {status(403, "AccessDenied"), store.ErrDenied},
		"403":                            {status(403, ""), store.ErrDenied},
		"403 InvalidObjectState":         {status(403, "InvalidObjectState"), store.ErrArchived},
		"400 ExpiredToken":               {status(400, "ExpiredToken"), store.ErrDenied},
		"400 KeyTooLongError":            {status(400, "KeyTooLongError"), store.ErrInvalidKey},
		"400 RequestTimeout":             {status(400, "RequestTimeout"), store.ErrUnavailable},
		"400 BadDigest":                  {status(400, "BadDigest"), store.ErrUnavailable},
		"400 InvalidArgument":            {status(400, "InvalidArgument"), nil},
		"416":                            {status(416, "InvalidRange"), store.ErrInvalidRange},
		"429":                            {status(429, ""), store.ErrUnavailable},
		"500":                            {status(500, "InternalError"), store.ErrUnavailable},
		"501":                            {status(501, "NotImplemented"), nil},
		"502":                            {status(502, ""), store.ErrUnavailable},
		"503":                            {status(503, "SlowDown"), store.ErrUnavailable},
		"reset":                          {reset, store.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the SDK waits between its tries
			s, _ := answering(t, c.answer)
			_, _, err := s.Get(t.Context(), "k", store.GetOptions{})
			if err == nil {
				t.Fatal("no error")
			}
			for _, class := range classes {
				if errors.Is(err, class) != errors.Is(c.want, class) {
					t.Errorf("error %v: class %q %v, want %q", err, class, errors.Is(err, class), c.want)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the secret is in %v", err)
			}
		})
	}
}

// A conditional write whose answer was lost must not be sent again: the second
// would meet what the first wrote.
func TestS3ConditionalPutIsSentOnce(t *testing.T) {
	conditions := map[string]store.PutOptions{"create": {CreateOnly: true}, "if-match": {IfMatch: `"e"`}, "any": {}}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		again  []string // conditions under which it is sent more than once
	}{
		"reset":     {reset, []string{"any"}},
		"500":       {status(500, "InternalError"), []string{"any"}},
		"504":       {status(504, ""), []string{"any"}},
		"slow down": {status(503, "SlowDown"), []string{"any", "create", "if-match"}},
		"throttled": {status(429, ""), []string{"any", "create", "if-match"}},
	} {
		for condition, o := range conditions {
			t.Run(name+" "+condition, func(t *testing.T) {
				t.Parallel()
				s, seen := answering(t, c.answer)
				_, err := s.Put(t.Context(), "k", []byte("body"), o)
				if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("error %v", err)
				}
				if n := len(seen()); (n > 1) != slices.Contains(c.again, condition) {
					t.Errorf("sent %d times", n)
				}
			})
		}
	}
}

func TestS3IfMatchOnNothing(t *testing.T) {
	s, _ := answering(t, status(404, "NoSuchKey")) // as Amazon S3 answers
	_, err := s.Put(t.Context(), "k", nil, store.PutOptions{IfMatch: `"e"`})
	if !errors.Is(err, store.ErrPrecondition) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

func TestS3PutRequest(t *testing.T) {
	s, seen := answering(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("ETag", `"e"`) })
	info, err := s.Put(t.Context(), "k", []byte("123456789"), store.PutOptions{CreateOnly: true, Attributes: store.Attributes{
		SSE: "aws:kms", SSEKMSKeyID: "arn:key", StorageClass: "STANDARD_IA", Tags: map[string]string{"a b": "c"},
	}})
	if err != nil || info.ETag != `"e"` || info.CRC64NVME != "" {
		t.Errorf("%+v, %v: the server said nothing of a checksum", info, err)
	}
	r := seen()[0]
	for name, want := range map[string]string{
		"X-Amz-Content-Sha256":     "UNSIGNED-PAYLOAD",
		"X-Amz-Checksum-Crc64nvme": "rosUhgp5mIg=", "X-Amz-Checksum-Crc32": "", "X-Amz-Trailer": "", "Content-Encoding": "",
		"If-None-Match": "*", "If-Match": "", "X-Amz-Tagging": "a+b=c", "X-Amz-Storage-Class": "STANDARD_IA",
		"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "arn:key",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if r.URL.Path != "/bucket/pre/fix/k" || r.ContentLength != 9 {
		t.Errorf("%s, %d bytes", r.URL.Path, r.ContentLength)
	}
	if !strings.Contains(r.Header.Get("Authorization"), "x-amz-checksum-crc64nvme") {
		t.Errorf("the checksum is not signed: %s", r.Header.Get("Authorization"))
	}
}

func TestS3PutOfAnotherChecksum(t *testing.T) {
	s, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Checksum-Crc64nvme", "AAAAAAAAAAA=")
	})
	_, err := s.Put(t.Context(), "k", []byte("123456789"), store.PutOptions{})
	if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, store.ErrChecksum) {
		t.Errorf("error %v", err)
	}
}

func TestS3Body(t *testing.T) {
	object := func(headers map[string]string, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for name, value := range headers {
				w.Header().Set(name, value)
			}
			_, _ = io.WriteString(w, body)
		}
	}
	for name, c := range map[string]struct {
		headers map[string]string
		body    string
		want    error
	}{
		"whole":     {map[string]string{"Content-Length": "9", "X-Amz-Checksum-Crc64nvme": "rosUhgp5mIg="}, "123456789", nil},
		"no sum":    {map[string]string{"Content-Length": "9"}, "123456780", nil},
		"flipped":   {map[string]string{"Content-Length": "9", "X-Amz-Checksum-Crc64nvme": "rosUhgp5mIg="}, "123456780", store.ErrChecksum},
		"cut short": {map[string]string{"Content-Length": "9"}, "1234", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := answering(t, object(c.headers, c.body))
			b, _, err := store.ReadAll(t.Context(), s, "k", "", 100, nil)
			if !errors.Is(err, c.want) || (c.want != nil && !errors.Is(err, store.ErrUnavailable)) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if c.want == nil && string(b) != c.body {
				t.Errorf("read %q", b)
			}
		})
	}
}

func TestS3ReadsTagsOnlyWhereThereAreAny(t *testing.T) {
	for count, want := range map[string]map[string]string{"": nil, "1": {"a": "b"}} {
		s, seen := answering(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "aws-chunked,br")
			w.Header().Set("X-Amz-Storage-Class", "GLACIER")
			if r.URL.Query().Has("tagging") {
				_, _ = io.WriteString(w, "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>")
			} else if count != "" {
				w.Header().Set("X-Amz-Tagging-Count", count)
			}
		})
		info, err := s.Stat(t.Context(), "k")
		if err != nil || !reflect.DeepEqual(info.Attributes.Tags, want) || len(seen()) != 1+len(want) {
			t.Errorf("count %q: %+v, %v, %d requests", count, info, err, len(seen()))
		}
		if info.Attributes.ContentEncoding != "br" || info.Attributes.StorageClass != "GLACIER" {
			t.Errorf("attributes %+v", info.Attributes)
		}
	}
}

func TestS3DeleteOfNothing(t *testing.T) {
	s, _ := answering(t, status(404, "NoSuchKey"))
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	s, _ = answering(t, status(403, "AccessDenied"))
	if err := s.Delete(t.Context(), "k"); !errors.Is(err, store.ErrDenied) {
		t.Error(err)
	}
}

func TestS3KeyTooLongWithPrefix(t *testing.T) {
	s, seen := answering(t, status(200, ""))
	key := strings.TrimSuffix(strings.Repeat("abcdefg/", 128), "/")
	if err := store.CheckKey(key); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(t.Context(), key); !errors.Is(err, store.ErrInvalidKey) || len(seen()) != 0 {
		t.Errorf("error %v after %d requests", err, len(seen()))
	}
}

func TestS3ListSkipsWhatItRefuses(t *testing.T) {
	s, seen := answering(t, func(w http.ResponseWriter, r *http.Request) {
		more := r.URL.Query().Get("continuation-token") == ""
		names := []string{"pre/fix/a/", "pre/fix/a//b", "pre/fix/a%01b", "pre/fix/a+b%2Bc", "pre/fix/a%2F..%2Fb"}
		if !more {
			names = []string{"pre/fix/z"}
		}
		_, _ = fmt.Fprintf(w, "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>%v</IsTruncated><NextContinuationToken>n</NextContinuationToken>", more)
		for _, n := range names {
			_, _ = fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>1</Size></Contents>", n)
		}
		_, _ = io.WriteString(w, "</ListBucketResult>")
	})
	if got, want := listed(t, s, ""), []string{"a\x01b", "a b+c", "z"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	if q := seen()[0].URL.Query(); q.Get("prefix") != "pre/fix/" || q.Get("encoding-type") != "url" {
		t.Errorf("asked for %v", q)
	}
}

// A server that does not encode names does not say that it does, and can't name
// every key. Names that were not asked for are no answer.
func TestS3ListUnencoded(t *testing.T) {
	for name, want := range map[string]string{
		"pre/fix/a+b%2Bc": "a+b%2Bc", "pre/fix/a\ufffdb": "", "pre/fix": "", "pre/fiy/a": "", "a": "",
	} {
		s, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
			result, entry := "ListBucketResult", "Contents"
			switch q := r.URL.Query(); {
			case q.Has("versions"):
				result, entry = "ListVersionsResult", "Version"
			case q.Has("uploads"):
				result, entry = "ListMultipartUploadsResult", "Upload"
			}
			_, _ = fmt.Fprintf(w, "<%s><%s><Key>%s</Key><VersionId>v</VersionId><UploadId>u</UploadId></%s></%s>", result, entry, name, entry, result)
		})
		got := map[string][]any{}
		for v, err := range s.List(t.Context(), "") {
			got["list"] = append(got["list"], v.Key, err)
		}
		for v, err := range s.ListVersions(t.Context(), "") {
			got["list versions"] = append(got["list versions"], v.Key, err)
		}
		for v, err := range s.ListUploads(t.Context(), "") {
			got["list uploads"] = append(got["list uploads"], v.Key, err)
		}
		for op, g := range got {
			if len(g) != 2 || g[0] != want || (g[1] == nil) != (want != "") {
				t.Errorf("%s with the name %q: %v, want %q", op, name, g, want)
			}
		}
		if len(got) != 3 {
			t.Errorf("%v", got)
		}
	}
}

func TestS3ListEndsWithAnError(t *testing.T) {
	s, _ := answering(t, status(403, "AccessDenied"))
	n := 0
	for _, err := range s.List(t.Context(), "") {
		if n++; !errors.Is(err, store.ErrDenied) {
			t.Errorf("error %v", err)
		}
	}
	if n != 1 {
		t.Errorf("yielded %d times", n)
	}
}
