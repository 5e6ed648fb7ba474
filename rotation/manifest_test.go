package rotation

import (
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
)

// TestRangesFollowWhatGrew: the byte ranges that point into objects which became
// longer are moved, and nothing else is.
func TestRangesFollowWhatGrew(t *testing.T) {
	const old = "#EXTM3U\r\n#EXT-X-TARGETDURATION:2\r\n#EXT-X-I-FRAMES-ONLY\r\n" +
		`#EXT-X-KEY:METHOD=SAMPLE-AES,URI="key.bin",IV=0x9ED3BF17DED999FC0098063A4EFB6C3E` + "\r\n" +
		"#EXTINF:2,\r\n#EXT-X-BYTERANGE:1880@376\r\n1.ts\r\n" +
		"#EXTINF:2,\r\n#EXT-X-BYTERANGE:940@5640\r\n1.ts\r\n" +
		"#EXTINF:2,\r\n#EXT-X-BYTERANGE:940@376\r\n2.ts\r\n#EXT-X-ENDLIST\r\n"
	want := strings.NewReplacer(
		"1880@376", "4888@376", // 16 packets more in this I frame
		"940@5640", "940@8648",
		`"key.bin"`, `"_rekey/r/key.bin"`,
		"\n1.ts", "\n_rekey/r/1.ts", "\n2.ts", "\n_rekey/r/2.ts",
	).Replace(old)
	rw := rewriter{
		moves: map[string]string{
			"m/1.ts": "m/_rekey/r/1.ts", "m/2.ts": "m/_rekey/r/2.ts", "m/key.bin": "m/_rekey/r/key.bin",
		},
		grown: map[string][]journal.Growth{"m/1.ts": {{At: 2256, By: 3008}}},
	}
	got, err := rw.rewrite(journal.Move{From: "m/i.m3u8", To: "m/i.m3u8", Kind: catalog.HLS}, []byte(old))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestKeyTagsOfOneKey: every way to one key leads to the new one.
func TestKeyTagsOfOneKey(t *testing.T) {
	oldKID, newKID := key.KID{1, 2}, key.KID{3, 4}
	const rest = "#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n1.ts\n#EXT-X-ENDLIST\n"
	old := "#EXTM3U\n" +
		`#EXT-X-KEY:METHOD=SAMPLE-AES,URI="key.bin"` + "\n" +
		`#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://movie",KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"` + "\n" +
		`#EXT-X-KEY:METHOD=SAMPLE-AES,URI="urn:x:` + oldKID.UUID() + `",KEYFORMAT="com.vendor",KEYID=0x` + oldKID.String() + "\n" + rest
	want := strings.NewReplacer(
		"key.bin", "_rekey/r/key.bin", "skd://movie", "skd://"+newKID.String(),
		oldKID.UUID(), newKID.UUID(), oldKID.String(), newKID.String(),
	).Replace(old)
	rw := rewriter{
		moves:   map[string]string{"m/key.bin": "m/_rekey/r/key.bin"},
		keyURIs: map[string]string{"skd://movie": "skd://" + newKID.String()},
		changes: key.Changes{oldKID: {New: key.NewContentKey(), NewKID: newKID}},
	}
	got, err := rw.rewrite(journal.Move{From: "m/s.m3u8", To: "m/s.m3u8", Kind: catalog.HLS}, []byte(old))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestVariablesOfWhatMoves: those in a path are filled in, and a query that only
// the player knows stays the player's.
func TestVariablesOfWhatMoves(t *testing.T) {
	const old = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n" +
		`#EXT-X-DEFINE:NAME="n",VALUE="1"` + "\n" + `#EXT-X-DEFINE:QUERYPARAM="t"` + "\n" +
		"#EXTINF:2,\n{$n}.ts?t={$t}\n#EXTINF:2,\n{$n}2.ts?t={$t}\n#EXT-X-ENDLIST\n"
	want := strings.Replace(old, "\n{$n}.ts", "\n_rekey/r/1.ts", 1)
	rw := rewriter{moves: map[string]string{"m/1.ts": "m/_rekey/r/1.ts"}}
	got, err := rw.rewrite(journal.Move{From: "m/s.m3u8", To: "m/s.m3u8", Kind: catalog.HLS, Context: catalog.Context{AnyQuery: true}}, []byte(old))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
