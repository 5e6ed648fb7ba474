package store_test

import (
	"context"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/store/storetest"
)

func openDir(t *testing.T) store.Store {
	t.Helper()
	d, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// prefix is a part of a bucket whose name must be escaped everywhere.
const prefix = "tenant a+b/lib/"

// opener opens a part of a new bucket of a server whose Env is set.
func opener(bucket func(testing.TB) string) func(t *testing.T) store.Store {
	return func(t *testing.T) store.Store {
		t.Helper()
		s, err := store.Open(t.Context(), "s3://"+bucket(t)+"/"+prefix)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// paged opens a new bucket that keeps versions, with a client that asks for pages
// of a few entries: what is listed goes over many.
func paged(m services.MinIO) func(t *testing.T) store.Store {
	few := aws.Int32(7)
	ask := func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		switch in := in.Parameters.(type) {
		case *s3.ListObjectsV2Input:
			in.MaxKeys = few
		case *s3.ListObjectVersionsInput:
			in.MaxKeys = few
		case *s3.ListMultipartUploadsInput:
			in.MaxUploads = few
		case *s3.ListPartsInput:
			in.MaxParts = few
		}
		return next.HandleInitialize(ctx, in)
	}
	return func(t *testing.T) store.Store {
		t.Helper()
		return store.NewS3(s3.New(m.Client().Options(), func(o *s3.Options) {
			o.APIOptions = append(slices.Clone(o.APIOptions), func(stack *middleware.Stack) error {
				return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("pages of a few", ask), middleware.Before)
			})
		}), m.VersionedBucket(t), prefix)
	}
}

func TestDir(t *testing.T) {
	storetest.Run(t, storetest.Target{
		Open: openDir, MaxKey: 1024,
		Capabilities: store.Capabilities{CreateOnly: true, IfMatch: true, DeletedIsGone: true, ControlCharacters: true},
	})
}

func TestMinIO(t *testing.T) {
	m := services.StartMinIO(t)
	m.Env(t)
	storetest.Run(t, storetest.Target{
		Open: opener(m.Bucket), OpenVersioned: opener(m.VersionedBucket), OpenPaged: paged(m), MaxKey: 1024 - len(prefix),
		Capabilities: store.Capabilities{
			CreateOnly: true, IfMatch: true, DeletedIsGone: true, Checksum: true, Attributes: true, StorageClass: true,
			ControlCharacters: true, Uploads: true,
		},
	})
}

func TestVersityGW(t *testing.T) {
	gw := services.StartVersityGW(t)
	gw.Env(t)
	storetest.Run(t, storetest.Target{
		Open: opener(gw.Bucket), OpenVersioned: opener(gw.VersionedBucket), OpenPaged: paged(gw.MinIO), MarkersUnseen: true, MaxKey: 1024 - len(prefix),
		Capabilities: store.Capabilities{
			CreateOnly: true, IfMatch: true, DeletedIsGone: true, Checksum: true, Attributes: true,
			Uploads: true, UploadsByPrefix: true,
		},
	})
}
