package gcp_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/seed-6133abe0/rekey/kms/gcp"
	"github.com/seed-6133abe0/rekey/kms/gcp/gcptest"
)

const ring = gcptest.Ring

// service is the stand-in for Cloud KMS.
type service struct{ *gcptest.Service }

func newService() *service { return &service{gcptest.New()} }

// open connects the real client; the provider's waits pass on the service's
// clock.
func (s *service) open(t *testing.T, addr string, change func(*gcp.Options)) *gcp.Provider {
	t.Helper()
	o := gcp.Options{
		KeyRing: ring,
		Client:  clientOptions(addr),
		Clock:   s.Clock,
		Wait: func(ctx context.Context, d time.Duration) error {
			s.Pass(d)
			return ctx.Err()
		},
	}
	if change != nil {
		change(&o)
	}
	p, err := gcp.New(t.Context(), o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

func clientOptions(addr string, more ...grpc.DialOption) []option.ClientOption {
	o := []option.ClientOption{
		option.WithEndpoint(addr),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
	for _, d := range more {
		o = append(o, option.WithGRPCDialOption(d))
	}
	return o
}
