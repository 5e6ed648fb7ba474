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

func TestDir(t *testing.T) { storetest.Run(t, openDir, storetest.Caps{}) }

func TestS3(t *testing.T) {
	m := services.StartMinIO(t)
	m.Env(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		t.Helper()
		s, err := store.Open(t.Context(), "s3://"+m.Bucket(t)+"/tenant a+b/lib/")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, storetest.Caps{Attributes: true, Checksum: true})
}
