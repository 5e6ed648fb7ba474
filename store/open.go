package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	connBuffer     = 128 << 10   // with net/http's 4 KiB, most of a copy's CPU time is system calls
	idlePerHost    = 64          // the SDK keeps 10; a worker has more transfers under way
	headersTimeout = time.Minute // from the request's last byte to the answer's first
	defaultRegion  = "us-east-1" // for servers of one's own, which mostly have none
)

// Open opens a directory, or s3://bucket/prefix. Region, credentials and endpoint
// of S3 come from the SDK's default chain; an endpoint of one's own
// (AWS_ENDPOINT_URL) is asked path-style, and needs no region. A directory or
// bucket that is not there is ErrNotFound; another scheme is ErrLocation.
func Open(ctx context.Context, location string) (Store, error) {
	if !strings.Contains(location, "://") {
		return OpenDir(location)
	}
	bucket, prefix, err := parseS3(location)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", location, err)
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(transport()))
	if err != nil {
		return nil, fmt.Errorf("load S3 configuration: %w", err)
	}
	s := NewS3(NewS3Client(cfg), bucket, prefix)
	// Whoever may not list gets 403 here, and may still read and write.
	if err := s.checkBucket(ctx); err != nil && !errors.Is(err, ErrDenied) {
		return nil, fmt.Errorf("open %q: %w", location, err)
	}
	return s, nil
}

func parseS3(location string) (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(location, "s3://")
	if !ok {
		return "", "", fmt.Errorf("%w: want s3://bucket/prefix or a directory", ErrLocation)
	}
	bucket, prefix, _ = strings.Cut(rest, "/")
	if bucket == "" || strings.ContainsAny(bucket, "@:?#% ") {
		return "", "", fmt.Errorf("%w: no bucket name", ErrLocation)
	}
	if prefix = strings.TrimSuffix(prefix, "/"); prefix != "" {
		if err := CheckKey(prefix); err != nil {
			return "", "", fmt.Errorf("%w: prefix: %w", ErrLocation, err)
		}
	}
	return bucket, prefix, nil
}

func transport() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.ReadBufferSize, t.WriteBufferSize = connBuffer, connBuffer
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 2*idlePerHost, idlePerHost
		t.ResponseHeaderTimeout = headersTimeout
	})
}

// NewS3Client is the client that Open makes of a configuration.
func NewS3Client(cfg aws.Config) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		if o.BaseEndpoint == nil {
			return
		}
		o.UsePathStyle = true
		if o.Region == "" {
			o.Region = defaultRegion
		}
	})
}
