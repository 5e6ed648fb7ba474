package services

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// MinIO is a running S3 server and what a client needs to reach it.
type MinIO struct {
	Endpoint  string // http://127.0.0.1:port
	AccessKey string
	SecretKey string
	Region    string
}

// StartMinIO starts the server found at $REKEY_MINIO, or where `make tools`
// leaves it, with one empty drive.
func StartMinIO(t testing.TB) MinIO {
	t.Helper()
	binary, err := minioBinary()
	if err != nil {
		t.Fatalf("package services needs minio: run `make tools`: %v", err)
	}
	m := MinIO{AccessKey: "rekey", SecretKey: rand.Text(), Region: "us-east-1"}
	drive, home := t.TempDir(), t.TempDir()
	addr := start(t, server{
		name: "minio",
		env: []string{
			"HOME=" + home, "MINIO_ROOT_USER=" + m.AccessKey, "MINIO_ROOT_PASSWORD=" + m.SecretKey,
			"MINIO_BROWSER=off", "MINIO_UPDATE=off",
		},
		argv: func(addr string) []string {
			return []string{binary, "server", "--quiet", "--address", addr, drive}
		},
		ready: func(addr string) error { return m.ready(t, "http://"+addr) },
	})
	m.Endpoint = "http://" + addr
	return m
}

func minioBinary() (string, error) {
	path := os.Getenv("REKEY_MINIO")
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		path = filepath.Join(cache, "rekey", "bin", "minio")
	}
	_, err := os.Stat(path)
	return path, err
}

// ready lists buckets with this server's own secret: a health check would also
// pass on another test's server that took the port first, or before this one
// can serve S3.
func (m MinIO) ready(t testing.TB, endpoint string) error {
	m.Endpoint = endpoint
	_, err := m.client(&http.Client{Timeout: 2 * time.Second}, 1).ListBuckets(t.Context(), &s3.ListBucketsInput{})
	return err
}

// Environ is the environment in which the AWS SDK's default configuration
// reaches this server and nothing else.
func (m MinIO) Environ() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + m.Endpoint,
		"AWS_ACCESS_KEY_ID=" + m.AccessKey,
		"AWS_SECRET_ACCESS_KEY=" + m.SecretKey,
		"AWS_SESSION_TOKEN=",
		"AWS_REGION=" + m.Region,
		"AWS_PROFILE=",
		"AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

// Env sets Environ for the rest of the test, which therefore can't be parallel.
func (m MinIO) Env(t testing.TB) {
	t.Helper()
	for _, pair := range m.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
}

// Client is an SDK client for this server with path-style addresses.
func (m MinIO) Client() *s3.Client { return m.client(nil, 3) }

func (m MinIO) client(transport *http.Client, attempts int) *s3.Client {
	options := s3.Options{
		BaseEndpoint:     aws.String(m.Endpoint),
		Region:           m.Region,
		UsePathStyle:     true,
		RetryMaxAttempts: attempts,
		Credentials:      credentials.NewStaticCredentialsProvider(m.AccessKey, m.SecretKey, ""),
	}
	if transport != nil {
		options.HTTPClient = transport
	}
	return s3.New(options)
}

// Bucket makes an empty bucket and returns its name.
func (m MinIO) Bucket(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test-%s", strings.ToLower(rand.Text()))
	_, err := m.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name)})
	if err != nil {
		t.Fatalf("create bucket %s: %v", name, err)
	}
	return name
}
