package services

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// VersityGW is a running Versity S3 Gateway: an S3 server that shares no code
// with MinIO. It is reached as that is.
type VersityGW struct{ MinIO }

// StartVersityGW starts the gateway found at $REKEY_VERSITYGW, or where `make
// tools` leaves it, over an empty directory of a file system that keeps extended
// attributes: they hold the objects' metadata.
func StartVersityGW(t testing.TB) VersityGW {
	t.Helper()
	binary, err := versityGWBinary()
	if err != nil {
		t.Fatalf("package services needs versitygw: run `make tools`: %v", err)
	}
	gw := VersityGW{MinIO{AccessKey: "rekey", SecretKey: rand.Text(), Region: "us-east-1"}}
	home, objects, versions := t.TempDir(), t.TempDir(), t.TempDir()
	addr := start(t, server{
		name: "versitygw",
		env:  []string{"HOME=" + home, "ROOT_ACCESS_KEY=" + gw.AccessKey, "ROOT_SECRET_KEY=" + gw.SecretKey},
		argv: func(addr string) []string {
			return []string{
				binary, "--port", addr, "--region", gw.Region, "--quiet",
				"posix", "--versioning-dir", versions, objects,
			}
		},
		ready: func(addr string) error { return gw.ready(t, "http://"+addr) },
	})
	gw.Endpoint = "http://" + addr
	return gw
}

func versityGWBinary() (string, error) {
	path := os.Getenv("REKEY_VERSITYGW")
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		path = filepath.Join(cache, "rekey", "bin", "versitygw")
	}
	_, err := os.Stat(path)
	return path, err
}

// VersionedBucket makes an empty bucket that keeps every version, and returns its
// name.
func (m MinIO) VersionedBucket(t testing.TB) string {
	t.Helper()
	name := m.Bucket(t)
	_, err := m.Client().PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: aws.String(name), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatalf("keep versions in bucket %s: %v", name, err)
	}
	return name
}
