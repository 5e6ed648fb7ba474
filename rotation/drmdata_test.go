package rotation

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/pssh"
)

// commonBox is a version 1 pssh box (ISO/IEC 23001-7 §8.1) that names KIDs.
func commonBox(kids ...key.KID) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(36+16*len(kids)))
	b = append(append(b, "pssh\x01\x00\x00\x00"...), pssh.Common[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(kids)))
	for _, kid := range kids {
		b = append(b, kid[:]...)
	}
	return append(b, 0, 0, 0, 0)
}

// TestOldDRMDataIsToldOf: where one tag holds the data of two keys and the key
// service gave one box for each, the old data stays, and the asset's owner learns
// where.
func TestOldDRMDataIsToldOf(t *testing.T) {
	one, two := key.KID{1}, key.KID{2}
	data := base64.StdEncoding.EncodeToString(commonBox(one, two))
	playlist := "#EXTM3U\n#EXT-X-TARGETDURATION:2\n" +
		`#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="data:text/plain;base64,` + data + `",KEYFORMAT="urn:uuid:` + fmt.Sprintf("%x-%x-%x-%x-%x", pssh.Common[:4], pssh.Common[4:6], pssh.Common[6:8], pssh.Common[8:10], pssh.Common[10:]) + `",KEYFORMATVERSIONS="1"` +
		"\n#EXTINF:2,\n1.m4s\n#EXT-X-ENDLIST\n"
	served := func(now key.KID) key.Change {
		return key.Change{New: key.NewContentKey(), NewKID: now, PSSH: [][]byte{commonBox(now)}}
	}
	named := key.Changes{one: {NewKID: key.KID{3}}, two: {NewKID: key.KID{4}}}
	both := key.Changes{one: served(key.KID{3}), two: served(key.KID{4})}
	single := key.Changes{}
	for old, c := range both {
		c.PSSH = [][]byte{commonBox(key.KID{3}, key.KID{4})}
		single[old] = c
	}
	for name, tc := range map[string]struct {
		changes key.Changes
		want    []string
	}{
		"no key service": {named, nil},
		"two boxes":      {both, []string{"m/v.m3u8: old-drm-data: line 3: "}},
		"the same box":   {single, nil},
	} {
		rw := rewriter{changes: tc.changes}
		m := journal.Move{From: "m/v.m3u8", To: "m/v.m3u8", Kind: catalog.HLS}
		got, err := rw.oldDRMData(m, []byte(playlist))
		if err != nil || !slices.EqualFunc(got, tc.want, strings.HasPrefix) {
			t.Errorf("%s: told %q, %v; want %q", name, got, err, tc.want)
		}
		out, err := rw.rewrite(m, []byte(playlist))
		if err != nil || len(got) > 0 && !bytes.Contains(out, []byte(base64.StdEncoding.EncodeToString(commonBox(key.KID{3}, key.KID{4})))) {
			t.Errorf("%s: rewritten to\n%s(%v)", name, out, err)
		}
	}
	if _, err := (rewriter{changes: both}).oldDRMData(journal.Move{From: "m/v.mpd", Kind: catalog.DASH}, []byte(`<MPD>`)); err == nil {
		t.Error("a broken MPD is read")
	}
}
