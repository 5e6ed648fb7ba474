package store_test

import (
	"testing"

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
		Open: opener(m.Bucket), OpenVersioned: opener(m.VersionedBucket), MaxKey: 1024 - len(prefix),
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
		Open: opener(gw.Bucket), OpenVersioned: opener(gw.VersionedBucket), MarkersUnseen: true, MaxKey: 1024 - len(prefix),
		Capabilities: store.Capabilities{
			CreateOnly: true, IfMatch: true, DeletedIsGone: true, Checksum: true, Attributes: true,
			Uploads: true, UploadsByPrefix: true,
		},
	})
}
