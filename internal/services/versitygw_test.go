package services_test

import (
	"bytes"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/seed-6133abe0/rekey/internal/services"
)

func TestVersityGWKeepsVersions(t *testing.T) {
	gw := services.StartVersityGW(t)
	for name, c := range map[string]struct {
		bucket string
		want   int
	}{"plain": {gw.Bucket(t), 1}, "versioned": {gw.VersionedBucket(t), 2}} {
		for _, body := range []string{"old", "new"} {
			if _, err := gw.Client().PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: &c.bucket, Key: aws.String("a/b"), Body: bytes.NewReader([]byte(body)),
			}); err != nil {
				t.Fatal(err)
			}
		}
		out, err := gw.Client().ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &c.bucket})
		if err != nil || len(out.Versions) != c.want {
			t.Errorf("%s: %+v, error %v, want %d versions", name, out, err, c.want)
		}
	}
}
