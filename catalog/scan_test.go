package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

type registrar map[string]key.ContentKey

func (r registrar) Register(_ context.Context, _ key.KID, k key.ContentKey, uri string) error {
	r[uri] = k
	return nil
}

func library(t *testing.T, change func(dir string)) (store.Store, *catalog.Index) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "media")
	if err := os.CopyFS(dir, fixtures.Library()); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(dir)
	}
	media, err := store.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	control, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return media, catalog.NewIndex(control)
}

func rescan(t *testing.T, media store.Store, x *catalog.Index) (catalog.ScanRecord, registrar) {
	t.Helper()
	reg := registrar{}
	rec, err := catalog.Rescan(t.Context(), media, x, reg, catalog.Options{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return rec, reg
}

func scope(t *testing.T, x *catalog.Index, kid key.KID) []catalog.Entry {
	t.Helper()
	var out []catalog.Entry
	for e, err := range x.Scope(t.Context(), kid) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestRescanFindsWhoUsesAKey(t *testing.T) {
	media, x := library(t, nil)
	for _, err := range x.Scope(t.Context(), key.KID{}) {
		if !errors.Is(err, catalog.ErrNotScanned) {
			t.Fatalf("scope before any scan: %v, want ErrNotScanned", err)
		}
	}
	rec, reg := rescan(t, media, x)
	if rec.Assets != 4 || rec.Refused != 0 || len(rec.Opaque) != 0 || rec.Loose != 0 {
		t.Errorf("scan record %+v", rec)
	}
	if got := slices.Collect(maps.Keys(reg)); !slices.Equal(got, []string{"clip/key.bin"}) {
		t.Errorf("registered %q", got)
	}
	shared, err := key.ParseKID("736861726564000092a4b6c8dae1f305")
	if err != nil {
		t.Fatal(err)
	}
	got := scope(t, x, shared)
	if len(got) != 2 || got[0].Asset != "movie" || got[1].Asset != "short" || got[0].Tracks != 1 || got[0].Objects != 5 {
		t.Errorf("a key shared by assets brings in %+v", got)
	}
	if got := scope(t, x, key.KIDFromURI("clip/key.bin")); len(got) != 1 || got[0].Tracks != 2 || got[0].Objects != 8 {
		t.Errorf("the published key brings in %+v", got)
	}
}

// refuser is a keyring that does not take keys.
type refuser struct{ err error }

func (r refuser) Register(context.Context, key.KID, key.ContentKey, string) error { return r.err }

// TestRescanTellsKeysFromKeyrings: a key that cannot be taken refuses its asset;
// a key service that is out of reach says nothing of any asset, and the index
// stays as it was.
func TestRescanTellsKeysFromKeyrings(t *testing.T) {
	media, x := library(t, nil)
	rec, err := catalog.Rescan(t.Context(), media, x, refuser{fmt.Errorf("%w: it is weak", catalog.ErrKey)}, catalog.Options{}, time.Now)
	if err != nil || rec.Refused != 1 {
		t.Errorf("scan record %+v, %v; want one asset refused", rec, err)
	}
	away := errors.New("key service is away")
	if _, err := catalog.Rescan(t.Context(), media, x, refuser{away}, catalog.Options{}, time.Now); !errors.Is(err, away) {
		t.Errorf("scan with no key service: %v", err)
	}
	if now, err := x.Scanned(t.Context()); err != nil || !now.Finished.Equal(rec.Finished) {
		t.Errorf("a scan that was broken off left %+v, %v", now, err)
	}
}

func TestRescanForgetsWhatIsGone(t *testing.T) {
	media, x := library(t, nil)
	rescan(t, media, x)
	if err := media.Delete(t.Context(), "clip/master.m3u8"); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"clip/vhi/stream.m3u8", "clip/vlo/stream.m3u8"} {
		if err := media.Delete(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	rec, _ := rescan(t, media, x)
	if rec.Assets != 3 || rec.Loose != 8 {
		t.Errorf("scan record %+v, want 3 assets and 8 loose objects", rec)
	}
	if got := scope(t, x, key.KIDFromURI("clip/key.bin")); len(got) != 0 {
		t.Errorf("an asset that is gone is still in scope: %+v", got)
	}
}

// What cannot be read must be said, and never count as "nothing depends on it".
func TestRescanNamesWhatItCannotRead(t *testing.T) {
	for name, c := range map[string]struct {
		file   string
		change func(string) string
		opaque bool
		reason string
	}{
		"live":          {"clip/vhi/stream.m3u8", func(s string) string { return strings.Replace(s, "#EXT-X-ENDLIST", "", 1) }, false, "live"},
		"no playlist":   {"clip/master.m3u8", func(string) string { return "hello" }, true, ""},
		"broken MPD":    {"movie/stream.mpd", func(s string) string { return s[:len(s)/2] }, true, ""},
		"dynamic MPD":   {"movie/stream.mpd", func(s string) string { return strings.Replace(s, `type="static"`, `type="dynamic"`, 1) }, false, "dynamic"},
		"outside":       {"clip/master.m3u8", func(s string) string { return strings.Replace(s, "vhi/", "https://cdn.example/vhi/", 1) }, true, "another place"},
		"itself":        {"clip/master.m3u8", func(s string) string { return strings.Replace(s, "vhi/stream.m3u8", "master.m3u8", 1) }, false, "includes itself"},
		"wrong KID":     {"movie/stream.mpd", func(s string) string { return strings.Replace(s, "6d6f7669-", "6d6f7660-", 1) }, false, "default_KID"},
		"key elsewhere": {"clip/vhi/stream.m3u8", func(s string) string { return strings.Replace(s, "../key.bin", "https://keys.example/1", 1) }, false, "key server"},
		"broken init":   {"movie/hi/init.mp4", func(s string) string { return s[:len(s)-7] }, true, ""},
		"wrong tag": {"movie/lo.m3u8", func(s string) string {
			tags := regexp.MustCompile(`(?m)^(#EXT-X-KEY:.*\n)+`)
			return tags.ReplaceAllString(s, `#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="data:text/plain;base64,AAECAwQFBgcICQoLDA0ODw==",KEYFORMAT="identity"`+"\n")
		}, false, "name other keys"},
		"missing": {"movie/hi/002.m4s", nil, false, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			media, x := library(t, func(dir string) {
				file := filepath.Join(dir, c.file)
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if c.change == nil {
					err = os.Remove(file)
				} else if now := c.change(string(b)); now == string(b) {
					t.Fatal("the change changes nothing")
				} else {
					err = os.WriteFile(file, []byte(now), 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			})
			rec, _ := rescan(t, media, x)
			if rec.Refused == 0 || (len(rec.Opaque) > 0) != c.opaque {
				t.Errorf("scan record %+v, want refused, opaque %v", rec, c.opaque)
			}
			said := false
			for s, err := range x.Summaries(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range s.Refusals {
					said = said || strings.Contains(r.Reason, c.reason) && r.Object != ""
				}
			}
			if !said {
				t.Errorf("no refusal says %q", c.reason)
			}
		})
	}
}

func TestIndexNamesACorruptRecord(t *testing.T) {
	media, _ := library(t, nil)
	control, err := store.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	x := catalog.NewIndex(control)
	rescan(t, media, x)
	const k = "catalog/asset/movie.json"
	if _, err := control.Put(t.Context(), k, []byte(`{"asset":`), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Summary(t.Context(), "movie"); !errors.Is(err, catalog.ErrCorrupt) || !strings.Contains(err.Error(), k) {
		t.Errorf("corrupt record: %v", err)
	}
}
