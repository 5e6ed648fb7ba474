package packager_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring/packager"
)

func newKeys(labels ...string) []packager.Key {
	var out []packager.Key
	for _, l := range labels {
		out = append(out, packager.Key{KID: key.NewKID(), Key: key.NewContentKey(), Label: l})
	}
	return out
}

func hexKey(k key.ContentKey) string {
	raw := k.RevealSecretBytes()
	return hex.EncodeToString(raw[:])
}

// read wants a file of the owner's alone, and nothing else in the directory but
// the names given.
func read(t *testing.T, path string, others ...string) string {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != 0o600 {
		t.Errorf("%s has mode %v, want 0600", path, st.Mode())
	}
	want := append([]string{filepath.Base(path)}, others...)
	if got := names(t, filepath.Dir(path)); len(got) != len(want) {
		t.Errorf("the directory holds %q, want %q", got, want)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// The keys are read back by Abseil's and Shaka Packager's documented syntax: a
// flag a line, key infos apart by commas, their fields by colons.
func TestShaka(t *testing.T) {
	keys := newKeys("AUDIO", "SD+HD1", "")
	for name, c := range map[string]struct {
		in    packager.Shaka
		flags map[string]string
	}{
		"encrypt": {packager.Shaka{Keys: keys, Scheme: "cbcs"}, map[string]string{"enable_raw_key_encryption": "", "protection_scheme": "cbcs"}},
		"default": {packager.Shaka{Keys: keys}, map[string]string{"enable_raw_key_encryption": ""}},
		"decrypt": {packager.Shaka{Keys: keys, Decrypt: true}, map[string]string{"enable_raw_key_decryption": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "flags")
			if err := packager.WriteShaka(path, c.in); err != nil {
				t.Fatal(err)
			}
			flags := map[string]string{}
			for line := range strings.Lines(read(t, path)) {
				flag, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
				if _, twice := flags[flag]; twice || !strings.HasPrefix(flag, "--") || !strings.HasSuffix(line, "\n") {
					t.Fatalf("line %q", line)
				}
				flags[strings.TrimPrefix(flag, "--")] = value
			}
			infos := strings.Split(flags["keys"], ",")
			delete(flags, "keys")
			if len(flags) != len(c.flags) {
				t.Errorf("flags %v, want %v", flags, c.flags)
			}
			for f, v := range c.flags {
				if got, ok := flags[f]; !ok || got != v {
					t.Errorf("--%s=%q, want %q", f, got, v)
				}
			}
			if len(infos) != len(keys) {
				t.Fatalf("%d keys, want %d", len(infos), len(keys))
			}
			for i, info := range infos {
				field := map[string]string{}
				for f := range strings.SplitSeq(info, ":") {
					n, v, _ := strings.Cut(f, "=")
					field[n] = v
				}
				if len(field) != 3 || field["label"] != keys[i].Label || field["key_id"] != keys[i].KID.String() || field["key"] != hexKey(keys[i].Key) {
					t.Errorf("key %d has other fields or values", i)
				}
			}
		})
	}
}

func TestBento4(t *testing.T) {
	keys := newKeys("", "")
	path := filepath.Join(t.TempDir(), "keys")
	if err := packager.WriteBento4(path, keys); err != nil {
		t.Fatal(err)
	}
	// As xargs splits it: words.
	words := strings.Fields(read(t, path))
	if len(words) != 4 {
		t.Fatalf("%d words, want 4", len(words))
	}
	for i, k := range keys {
		if words[2*i] != "--key" || words[2*i+1] != k.KID.String()+":"+hexKey(k.Key) {
			t.Errorf("key %d is written otherwise", i)
		}
	}
}

// FFmpeg encrypts with the file, and openssl, which has only what went into it,
// decrypts.
func TestFFmpeg(t *testing.T) {
	dir, media := t.TempDir(), t.TempDir()
	f := packager.FFmpeg{KeyURI: "https://keys.example/a?b=c", Key: key.NewContentKey(), IV: key.SequenceIV(1 << 40)}
	info := filepath.Join(dir, "key.info")
	if err := packager.WriteFFmpeg(info, f); err != nil {
		t.Fatal(err)
	}
	if got := read(t, info, "key.info.key"); got != f.KeyURI+"\n"+info+".key\n"+strings.TrimPrefix(f.IV.String(), "0x")+"\n" {
		t.Errorf("key info:\n%s", got)
	}
	if raw := read(t, info+".key", "key.info"); hex.EncodeToString([]byte(raw)) != hexKey(f.Key) {
		t.Error("the key file holds another key")
	}
	run(t, "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:duration=1", "-c:a", "aac",
		"-f", "hls", "-hls_time", "10", "-hls_list_size", "0", "-hls_key_info_file", info,
		"-hls_segment_filename", filepath.Join(media, "s%d.ts"), filepath.Join(media, "a.m3u8"))
	playlist, err := os.ReadFile(filepath.Join(media, "a.m3u8"))
	if err != nil {
		t.Fatal(err)
	}
	if want := `#EXT-X-KEY:METHOD=AES-128,URI="` + f.KeyURI + `",IV=` + f.IV.String(); !strings.Contains(string(playlist), want) {
		t.Errorf("no %s in\n%s", want, playlist)
	}
	segments, err := filepath.Glob(filepath.Join(media, "*.ts"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	for _, s := range segments {
		ts := run(t, "openssl", "enc", "-d", "-aes-128-cbc", "-K", hexKey(f.Key), "-iv", strings.TrimPrefix(f.IV.String(), "0x"), "-in", s)
		if len(ts) == 0 || len(ts)%188 != 0 {
			t.Fatalf("%s decrypts to %d bytes, no packets of 188", s, len(ts))
		}
		for i := 0; i < len(ts); i += 188 {
			if ts[i] != 0x47 {
				t.Fatalf("%s: no sync byte at %d", s, i)
			}
		}
	}
}

func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, &stderr)
	}
	return out
}

var longHex = regexp.MustCompile(`[0-9a-f]{32}`)

func TestRefuses(t *testing.T) {
	two := newKeys("A", "B")
	ff := packager.FFmpeg{KeyURI: "u", Key: key.NewContentKey()}
	change := func(f func([]packager.Key)) []packager.Key {
		c := append([]packager.Key(nil), two...)
		f(c)
		return c
	}
	shaka := func(s packager.Shaka) func(string) error {
		return func(p string) error { return packager.WriteShaka(p, s) }
	}
	bento := func(k []packager.Key) func(string) error {
		return func(p string) error { return packager.WriteBento4(p, k) }
	}
	ffmpeg := func(f func(*packager.FFmpeg)) func(string) error {
		c := ff
		f(&c)
		return func(p string) error { return packager.WriteFFmpeg(p, c) }
	}
	for name, write := range map[string]func(string) error{
		"no keys":              bento(nil),
		"KID zero":             bento(change(func(k []packager.Key) { k[1].KID = key.KID{} })),
		"no value":             bento(change(func(k []packager.Key) { k[1].Key = key.ContentKey{} })),
		"KID twice":            bento(change(func(k []packager.Key) { k[1].KID = k[0].KID })),
		"Shaka: no keys":       shaka(packager.Shaka{}),
		"Shaka: label twice":   shaka(packager.Shaka{Keys: newKeys("A", "A")}),
		"Shaka: colon":         shaka(packager.Shaka{Keys: newKeys("A:key=0")}),
		"Shaka: comma":         shaka(packager.Shaka{Keys: newKeys("A,B")}),
		"Shaka: line break":    shaka(packager.Shaka{Keys: newKeys("A\n--key_server_url=x")}),
		"Shaka: label long":    shaka(packager.Shaka{Keys: newKeys(strings.Repeat("a", 65))}),
		"Shaka: scheme":        shaka(packager.Shaka{Keys: two, Scheme: "cbcs\n--x"}),
		"Shaka: decrypt":       shaka(packager.Shaka{Keys: two, Scheme: "cbcs", Decrypt: true}),
		"FFmpeg: no key":       ffmpeg(func(f *packager.FFmpeg) { f.Key = key.ContentKey{} }),
		"FFmpeg: no URI":       ffmpeg(func(f *packager.FFmpeg) { f.KeyURI = "" }),
		"FFmpeg: line break":   ffmpeg(func(f *packager.FFmpeg) { f.KeyURI = "a\nb" }),
		"FFmpeg: quote":        ffmpeg(func(f *packager.FFmpeg) { f.KeyURI = `a"b` }),
		"FFmpeg: URI too long": ffmpeg(func(f *packager.FFmpeg) { f.KeyURI = strings.Repeat("a", 4001) }),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := write(filepath.Join(dir, "f"))
			if !errors.Is(err, packager.ErrInput) {
				t.Errorf("%v, want ErrInput", err)
			}
			if got := names(t, dir); len(got) > 0 {
				t.Errorf("left %q", got)
			}
		})
	}
}

// A name that is taken stays what it was, and a key file does not stay alone.
func TestNeverOverwrites(t *testing.T) {
	keys := newKeys("")
	for name, write := range map[string]func(string) error{
		"Shaka":  func(p string) error { return packager.WriteShaka(p, packager.Shaka{Keys: keys}) },
		"Bento4": func(p string) error { return packager.WriteBento4(p, keys) },
		"FFmpeg": func(p string) error {
			return packager.WriteFFmpeg(p, packager.FFmpeg{KeyURI: "u", Key: keys[0].Key})
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
				t.Fatal(err)
			}
			err := write(path)
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("%v, want fs.ErrExist", err)
			}
			if longHex.MatchString(err.Error()) {
				t.Errorf("the error may show a key: %v", err)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
				t.Errorf("the file is %q now (%v)", b, err)
			}
			if got := names(t, dir); len(got) != 1 {
				t.Errorf("left %q", got)
			}
			if err := write(filepath.Join(dir, "none", "f")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("no directory: %v, want fs.ErrNotExist", err)
			}
		})
	}
	t.Run("FFmpeg's key file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path+".key", []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := packager.WriteFFmpeg(path, packager.FFmpeg{KeyURI: "u", Key: keys[0].Key}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%v, want fs.ErrExist", err)
		}
		if got := read(t, path+".key"); got != "mine" {
			t.Error("the key file was written over")
		}
	})
}
