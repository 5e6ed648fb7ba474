// Package judge asks independent programs what rotated media decrypts to:
// FFmpeg, OpenSSL and mp4ff, never the code under test. It is used by tests
// only.
package judge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// need fails the test where a program is missing, and names its package.
func need(t testing.TB, program, debian string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%s is missing: apt-get install %s, or make tools", program, debian)
	}
}

// Streams is FFmpeg's streamhash of a CENC rendition, decrypted with the key in
// hex: a line for each stream, as in 0,v,SHA256=….
func Streams(t testing.TB, keyHex string, files ...string) []string {
	t.Helper()
	need(t, "ffmpeg", "ffmpeg")
	var in bytes.Buffer
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(b)
	}
	lines, err := FileStreams(t, keyHex, in.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// FileStreams is Streams of bytes in memory. An error is what FFmpeg said of
// them: that it cannot read a file may be what the test wants to know.
func FileStreams(t testing.TB, keyHex string, file []byte) ([]string, error) {
	t.Helper()
	need(t, "ffmpeg", "ffmpeg")
	args := []string{"-v", "error"}
	if keyHex != "" {
		args = append(args, "-decryption_key", keyHex)
	}
	// From a pipe: of a seekable file with a sidx in every segment FFmpeg 5.1
	// reads nothing and says nothing.
	from := "pipe:"
	if mediaFirst(file) {
		from = filepath.Join(t.TempDir(), "media.mp4")
		if err := os.WriteFile(from, file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args = append(args, "-i", from, "-map", "0", "-c", "copy", "-f", "streamhash", "-hash", "sha256", "-")
	return try(t, bytes.NewReader(file), "ffmpeg", args...)
}

// Playlist is FFmpeg's streamhash of an HLS playlist on disk.
func Playlist(t testing.TB, name string) []string {
	t.Helper()
	need(t, "ffmpeg", "ffmpeg")
	return run(t, nil, "ffmpeg", "-v", "error", "-allowed_extensions", "ALL", "-i", name,
		"-map", "0", "-c", "copy", "-f", "streamhash", "-hash", "sha256", "-")
}

// AES128 is the SHA-256 in hex of an AES-128 segment decrypted by OpenSSL.
func AES128(t testing.TB, name, keyHex, ivHex string) string {
	t.Helper()
	need(t, "openssl", "openssl")
	c := exec.CommandContext(t.Context(), "openssl", "enc", "-d", "-aes-128-cbc", "-K", keyHex, "-iv", ivHex, "-in", name)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("openssl on %s: %v: %s", name, err, &errs)
	}
	sum := sha256.Sum256(out)
	return hex.EncodeToString(sum[:])
}

func run(t testing.TB, in io.Reader, name string, args ...string) []string {
	t.Helper()
	lines, err := try(t, in, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func try(t testing.TB, in io.Reader, name string, args ...string) ([]string, error) {
	t.Helper()
	out, err := output(t, in, name, args...)
	return strings.Fields(string(out)), err
}

func output(t testing.TB, in io.Reader, name string, args ...string) ([]byte, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Stdin = in
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, &errs)
	}
	return out, nil
}

// Tree is the SHA-256 of every file under a folder, by its path.
func Tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		sums[filepath.ToSlash(rel)] = hex.EncodeToString(sum[:])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sums) == 0 {
		t.Fatalf("%s holds no files", dir)
	}
	return sums
}
