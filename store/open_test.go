package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/store"
)

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for location, want := range map[string]error{
		"s3://": store.ErrLocation, "s3:///prefix": store.ErrLocation, "s3://user@bucket/x": store.ErrLocation,
		"s3://bucket/a//b": store.ErrLocation, "s3://bucket/../x": store.ErrLocation,
		"s3://bucket?x": store.ErrLocation, "S3://bucket": store.ErrLocation, "http://host/x": store.ErrLocation,
		"gs://bucket": store.ErrLocation, "file:///tmp": store.ErrLocation,
		"": store.ErrNotFound, filepath.Join(t.TempDir(), "none"): store.ErrNotFound, file: store.ErrLocation,
	} {
		if s, err := store.Open(t.Context(), location); !errors.Is(err, want) {
			t.Errorf("open %q: %v, %v, want %v", location, s, err, want)
		}
	}
}

// encryptedMinIO is a MinIO that can encrypt under a key of its own.
func encryptedMinIO(t *testing.T) services.MinIO {
	t.Helper()
	t.Setenv("MINIO_KMS_SECRET_KEY", "test-key:"+"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	return services.StartMinIO(t)
}

func TestOpenMinIO(t *testing.T) {
	m := encryptedMinIO(t)
	m.Env(t)
	s := opensS3(t, m)
	t.Run("encryption", func(t *testing.T) { keepsEncryption(t, s) })
	t.Run("versions", func(t *testing.T) { knowsVersions(t, m) })
}

func TestOpenVersityGW(t *testing.T) {
	gw := services.StartVersityGW(t)
	gw.Env(t)
	opensS3(t, gw.MinIO)
}

// opensS3 tries what Open makes of the environment, and returns a store.
func opensS3(t *testing.T, m services.MinIO) store.Store {
	t.Helper()
	bucket := m.Bucket(t)
	if _, err := store.Open(t.Context(), "s3://no-such-bucket-here"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a bucket that is not there: %v", err)
	}
	t.Setenv("AWS_REGION", "") // a server of one's own needs none
	whole, err := store.Open(t.Context(), "s3://"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	part, err := store.Open(t.Context(), "s3://"+bucket+"/p")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"p/a", "pp/a", "z"} {
		if _, err := whole.Put(t.Context(), key, []byte(key), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := listed(t, part, ""); !reflect.DeepEqual(got, []string{"a"}) {
		t.Errorf("a prefix holds %q", got)
	}
	if got := listed(t, whole, "p"); !reflect.DeepEqual(got, []string{"p/a", "pp/a"}) {
		t.Errorf("the bucket holds %q", got)
	}
	t.Run("checksum of an upload in parts", func(t *testing.T) { readsMultipart(t, m, bucket, whole) })
	t.Run("a wrong secret", func(t *testing.T) {
		t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
		s, err := store.Open(t.Context(), "s3://"+bucket)
		if err == nil {
			_, err = s.Stat(t.Context(), "z")
		}
		if !errors.Is(err, store.ErrDenied) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no server", func(t *testing.T) {
		t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
		t.Setenv("AWS_MAX_ATTEMPTS", "1")
		if _, err := store.Open(t.Context(), "s3://"+bucket); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
	})
	return whole
}

func keepsEncryption(t *testing.T, s store.Store) {
	for key, want := range map[string]store.Attributes{
		"sse/none": {ContentType: "text/plain"},
		"sse/s3":   {ContentType: "text/plain", SSE: "AES256"},
		"sse/kms":  {ContentType: "text/plain", SSE: "aws:kms", SSEKMSKeyID: "arn:aws:kms:test-key"},
	} {
		if _, err := s.Put(t.Context(), key, []byte("x"), store.PutOptions{Attributes: want}); err != nil {
			t.Fatal(err)
		}
		b, info, err := store.ReadAll(t.Context(), s, key, "", 1, nil)
		if err != nil || string(b) != "x" || !reflect.DeepEqual(info.Attributes, want) {
			t.Errorf("%s: %q with\n%+v, want\n%+v, error %v", key, b, info.Attributes, want, err)
		}
	}
}

func knowsVersions(t *testing.T, m services.MinIO) {
	bucket := m.VersionedBucket(t)
	s := store.NewS3(m.Client(), bucket, "")
	first, err := s.Put(t.Context(), "k", []byte("1"), store.PutOptions{CreateOnly: true, Attributes: store.Attributes{Tags: map[string]string{"n": "1"}}})
	if err != nil || first.Version == "" {
		t.Fatalf("put: %+v, %v", first, err)
	}
	second, err := s.Put(t.Context(), "k", []byte("2"), store.PutOptions{IfMatch: first.ETag})
	if err != nil || second.Version == first.Version {
		t.Fatalf("put: %+v, %v", second, err)
	}
	seen, err := s.Stat(t.Context(), "k")
	if err != nil || seen.Version != second.Version || seen.Attributes.Tags != nil {
		t.Errorf("stat: %+v, %v", seen, err)
	}
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	// A delete marker is nothing that stands there.
	if _, err := s.Stat(t.Context(), "k"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.Put(t.Context(), "k", nil, store.PutOptions{IfMatch: second.ETag}); !errors.Is(err, store.ErrPrecondition) {
		t.Error(err)
	}
	if _, err := s.Put(t.Context(), "k", nil, store.PutOptions{CreateOnly: true}); err != nil {
		t.Error(err)
	}
}

// readsMultipart reads what another client uploaded in parts, with another kind
// of checksum: S3 then holds one per part, and CRC64NVME is not known.
func readsMultipart(t *testing.T, m services.MinIO, bucket string, s store.Store) {
	ctx, client, key := t.Context(), m.Client(), aws.String("parts")
	up, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	bodies := [][]byte{bytes.Repeat([]byte("a"), 5<<20), []byte("end")}
	for i, body := range bodies {
		n := aws.Int32(int32(i + 1))
		out, err := client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &bucket, Key: key, UploadId: up.UploadId, PartNumber: n, Body: bytes.NewReader(body),
			ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{ETag: out.ETag, PartNumber: n, ChecksumSHA256: out.ChecksumSHA256})
	}
	_, err = client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Join(bodies, nil)
	got, info, err := store.ReadAll(ctx, s, *key, "", 1<<30, nil)
	if err != nil || !bytes.Equal(got, want) || info.CRC64NVME != "" {
		t.Errorf("read %d bytes, %+v, %v", len(got), info, err)
	}
	if again, err := store.PutOnce(ctx, s, *key, want, store.Attributes{}); err != nil || again.ETag != info.ETag {
		t.Errorf("put what stands: %+v, %v", again, err)
	}
}
