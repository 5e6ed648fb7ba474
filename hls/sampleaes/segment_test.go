package sampleaes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/hls/audio"
	"github.com/seed-6133abe0/rekey/key"
)

// TestSamples: what the packager encrypted comes to the packets that it writes in
// the clear, under the old key and under the new one.
func TestSamples(t *testing.T) {
	change, iv := testKeys()
	sums := digests(t)
	rekeyer, decrypter := NewRekeyer(change), NewDecrypter(change.New)
	for name, src := range media(t) {
		before := bytes.Clone(src)
		res, err := rekeyer.Segment(name, 0, iv, src)
		if err != nil {
			t.Fatal(err)
		}
		es := res.Clear
		if strings.HasSuffix(name, ".ts") {
			es = elementary(es)
		} else {
			n, err := audio.ID3(es)
			if err != nil || n == 0 {
				t.Fatal("no ID3 tag", err)
			}
			es = es[n:]
		}
		if hexSum(es) != sums[name] {
			t.Errorf("%s: clear bytes are not the packager's", name)
		}
		if !bytes.Equal(src, before) || bytes.Equal(res.Out, src) || res.Frames == 0 || len(res.Findings) > 0 || res.Evidence.Against > 0 {
			t.Errorf("%s: %d frames, %v, %+v, or source written", name, res.Frames, res.Findings, res.Evidence)
		}
		if n := len(src); len(res.Out) != n || len(res.Grown) > 0 {
			t.Errorf("%s: %d bytes, were %d", name, len(res.Out), n)
		}
		again, err := decrypter.Segment(name, 0, iv, res.Out)
		if err != nil || !bytes.Equal(again.Clear, res.Clear) || again.Out != nil || again.Frames != res.Frames {
			t.Errorf("%s: does not decrypt: %v", name, err)
		}
	}
}

// ffmpegFrames are the packets that FFmpeg's own decryptor reads from a playlist,
// by stream: DTS, size and MD5. It leaves the last two of a stream as they are.
func ffmpegFrames(t *testing.T, k key.ContentKey, iv key.IV, ext string, segments ...[]byte) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	raw := k.RevealSecretBytes()
	list := fmt.Sprintf("#EXTM3U\n#EXT-X-VERSION:5\n#EXT-X-TARGETDURATION:2\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"key.bin\",IV=%v\n", iv)
	files := map[string][]byte{"key.bin": raw[:]}
	for i, s := range segments {
		name := fmt.Sprintf("%d.%s", i, ext)
		files[name] = s
		list += "#EXTINF:1,\n" + name + "\n"
	}
	files["list.m3u8"] = []byte(list + "#EXT-X-ENDLIST\n")
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("ffmpeg", "-v", "error", "-allowed_extensions", "ALL", "-i", filepath.Join(dir, "list.m3u8"), "-map", "0:0", "-map", "0:1?", "-c", "copy", "-f", "framemd5", "-")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, &said)
	}
	frames := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(line, ","); len(f) > 5 && line[0] != '#' {
			frames[f[0]] = append(frames[f[0]], strings.TrimSpace(f[1]+f[4]+f[5]))
		}
	}
	return frames
}

func sameButLast(t *testing.T, a, b map[string][]string) {
	t.Helper()
	for s := range a {
		if n := len(a[s]); n < 4 || n != len(b[s]) || !slices.Equal(a[s][:n-2], b[s][:n-2]) {
			t.Errorf("FFmpeg reads %d packets of stream %s under the old key and %d under the new one, or others", n, s, len(b[s]))
		}
	}
	if len(a) == 0 || len(a) != len(b) {
		t.Errorf("FFmpeg reads %d and %d streams", len(a), len(b))
	}
}

func TestFFmpegReadsTheNewSegments(t *testing.T) {
	change, iv := testKeys()
	files := media(t)
	for _, names := range [][]string{{"video-1.ts", "video-2.ts"}, {"aac-1.ts"}, {"ac3-1.ts"}, {"eac3-1.ts"}, {"packed-1.aac"}} {
		r := NewRekeyer(change)
		var old, now [][]byte
		for _, n := range names {
			res, err := r.Segment(n, 0, iv, files[n])
			if err != nil {
				t.Fatal(err)
			}
			old, now = append(old, files[n]), append(now, bytes.Clone(res.Out))
		}
		ext := filepath.Ext(names[0])[1:]
		sameButLast(t, ffmpegFrames(t, change.Old, iv, ext, old...), ffmpegFrames(t, change.New, iv, ext, now...))
	}
}

func TestUnusableKeys(t *testing.T) {
	k := key.NewContentKey()
	src := samples(t, "aac-1.ts")["aac-1.ts"]
	for name, c := range map[string]key.Change{"no old": {New: k}, "no new": {Old: k}, "same": {Old: k, New: k}} {
		if _, err := NewRekeyer(c).Segment("s", 0, key.IV{}, src); !errors.Is(err, hls.ErrMissingKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewDecrypter(key.ContentKey{}).Segment("s", 0, key.IV{}, src); !errors.Is(err, hls.ErrMissingKey) {
		t.Errorf("decrypter: %v", err)
	}
}

// TestClearInDisguise: media that is signalled as protected and is not.
func TestClearInDisguise(t *testing.T) {
	change, iv := testKeys()
	for _, name := range []string{"packed-1.ac3", "packed-1.ec3", "packed-1.aac"} {
		d := NewDecrypter(change.Old)
		res, err := d.Segment(name, 0, iv, samples(t, name)[name])
		if err != nil {
			t.Fatal(err)
		}
		first := res.Evidence
		res, err = d.Segment(name, 0, iv, bytes.Clone(res.Clear))
		if err != nil {
			t.Fatal(err)
		}
		if res.Stored != first || res.Evidence.Verdict() == evidence.Right {
			t.Errorf("%s: stored %+v, should be %+v; decrypted %+v", name, res.Stored, first, res.Evidence)
		}
		if name != "packed-1.aac" && (res.Stored.Verdict() != evidence.Right || res.Evidence.Verdict() != evidence.Wrong) {
			t.Errorf("%s: stored %+v, decrypted %+v", name, res.Stored, res.Evidence)
		}
	}
}

func TestSegmentAllocatesLittle(t *testing.T) {
	change, iv := testKeys()
	r := NewRekeyer(change)
	src := samples(t, "video-1.ts")["video-1.ts"]
	n := testing.AllocsPerRun(10, func() {
		if _, err := r.Segment("s", 0, iv, src); err != nil {
			t.Fatal(err)
		}
	})
	if n > 200 {
		t.Errorf("%v allocations a segment", n)
	}
	t.Logf("%v allocations a segment", n)
}
