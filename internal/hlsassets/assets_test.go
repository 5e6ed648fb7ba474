package hlsassets

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/internal/judge"
)

// config lets the interstitial of the case odd lead elsewhere, and says where a
// FairPlay client of saes-ts finds a new key.
const config = "external: [https://ads.rekey.test/]\nnew_key_uri: skd://rekey.test/new/{kid}\n"

// joined are the playlists that FFmpeg 5.1 plays neither before nor after:
// sub-ranges of I-frame playlists under AES-128, and variables.
var joined = []string{"aes-ts-sequence/iframes.m3u8", "odd/raw.m3u8"}

// unproved are the cases whose video is too small to prove its key, and one whose
// key is also the video key of one of them: they rotate together.
var unproved = []string{"cenc-parts", "saes-ts", "saes-muxed"}

func stocked(t *testing.T) (library, []fixtures.HLSCase) {
	t.Helper()
	cases, err := fixtures.HLS("../../fixtures/hls")
	if err != nil || len(cases) == 0 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	l := library{dir: t.TempDir()}
	l.media = filepath.Join(l.dir, "media")
	if err := os.WriteFile(filepath.Join(l.dir, "rekey.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, c := range cases {
		judge.CopyTree(t, filepath.Join(l.media, c.Name), c.Dir)
		for _, k := range c.Keys {
			if k.KID != "" {
				fmt.Fprintf(&lines, "%s:%s\n", k.KID, k.Key)
			}
		}
	}
	l.rekey(t, lines.String(), "keys", "import", "-")
	return l, cases
}

// TestEveryAssetRotatesTwice: all keys of all assets are rotated, and then the new
// ones: what a rotation wrote is media like any other.
func TestEveryAssetRotatesTwice(t *testing.T) {
	l, cases := stocked(t)
	entries := map[string][]string{}
	for _, c := range cases {
		entries[c.Name] = judge.Entries(t, l.media, c.Name)
	}
	trees, kids := map[string]string{}, map[string]string{}
	for i := range 2 {
		before := filepath.Join(l.dir, fmt.Sprint("before", i))
		judge.CopyTree(t, before, l.media)
		l.rekey(t, "", "scan")
		for _, small := range []bool{false, true} {
			of := slices.DeleteFunc(slices.Clone(cases), func(c fixtures.HLSCase) bool { return slices.Contains(unproved, c.Name) != small })
			args := flags(of, trees, kids)
			if small {
				args = append(args, "--accept-unproved")
			}
			s := l.compromise(t, args)
			for _, a := range s.Assets {
				trees[a.Asset] = path.Join("_rekey", s.Rotation)
				for _, track := range a.Tracks {
					kids[track.OldKID] = track.NewKID
				}
			}
		}
		l.judge(t, cases, before, entries, kids)
	}
	l.rekey(t, "", append([]string{"verify"}, names(cases)...)...)
}

func names(cases []fixtures.HLSCase) (list []string) {
	for _, c := range cases {
		list = append(list, c.Name)
	}
	return list
}

// flags name every key: its object, which a rotation may have put in a tree, or
// its KID, which one may have changed.
func flags(cases []fixtures.HLSCase, trees, kids map[string]string) (list []string) {
	for _, c := range cases {
		for _, k := range c.Keys {
			switch {
			case k.URI != "":
				list = append(list, "--key-uri", path.Join(c.Name, trees[c.Name], k.URI))
			default:
				list = append(list, "--kid", latest(kids, k.KID))
			}
		}
	}
	return list
}

// latest is what a KID became.
func latest(kids map[string]string, kid string) string {
	for kids[kid] != "" {
		kid = kids[kid]
	}
	return kid
}

// judge compares every case, and wants as much to be compared as there is.
func (l library) judge(t *testing.T, cases []fixtures.HLSCase, before string, entries map[string][]string, kids map[string]string) {
	t.Helper()
	var mu sync.Mutex
	var all judge.Counts
	t.Run("judge", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				h := judge.HLS{Before: before, After: l.media, Folder: c.Name, Entries: entries[c.Name],
					Clear: within(c.Name, c.Clear), Streams: within(c.Name, c.Streams)}
				if c.Scheme == "cenc" {
					l.judgeCENC(t, c, &h, kids)
				} else {
					h.Judge(t)
				}
				t.Logf("%+v", h.Counts)
				mu.Lock()
				defer mu.Unlock()
				all.Add(h.Counts)
			})
		}
	})
	messages, keys, streams := 0, 0, 0
	for _, c := range cases {
		if c.Scheme != "cenc" {
			messages, keys, streams = messages+len(c.Messages), keys+len(c.Keys), streams+len(c.Streams)
		}
	}
	t.Logf("in all: %+v", all)
	slices.Sort(all.Joined)
	if all.KeyObjects != keys || all.Messages < messages || all.Played+len(all.Joined) != streams || !slices.Equal(all.Joined, joined) {
		t.Errorf("judged %+v; there are %d keys, %d messages, %d playlists, of which %q are no playlists for FFmpeg", all, keys, messages, streams, joined)
	}
}

// judgeCENC has FFmpeg decrypt each rendition: the keys of the case are in
// this order.
func (l library) judgeCENC(t *testing.T, c fixtures.HLSCase, h *judge.HLS, kids map[string]string) {
	t.Helper()
	if !h.Manifest(t) {
		return
	}
	for i, name := range []string{"video.m3u8", "aac.m3u8"} {
		h.CENC(t, path.Join(c.Name, name), l.export(t, latest(kids, c.Keys[i].KID)))
	}
}

func within[V any](folder string, table map[string]V) map[string]V {
	out := maps.Clone(table)
	clear(out)
	for name, v := range table {
		out[folder+"/"+name] = v
	}
	return out
}
