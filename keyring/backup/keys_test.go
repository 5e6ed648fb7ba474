package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// openssl runs OpenSSL in dir.
func openssl(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

// TestKeysOfOpenSSL reads keys as a holder makes them.
func TestKeysOfOpenSSL(t *testing.T) {
	for name, args := range map[string][]string{
		"ecparam":         {"ecparam", "-name", "prime256v1", "-genkey", "-out", "key.pem"},
		"ecparam -noout":  {"ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"},
		"genpkey":         {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem"},
		"genpkey -outpub": {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-text", "-out", "key.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			openssl(t, dir, args...)
			openssl(t, dir, "pkey", "-in", "key.pem", "-pubout", "-out", "pub.pem")
			openssl(t, dir, "req", "-x509", "-new", "-key", "key.pem", "-subj", "/CN=holder", "-days", "1", "-out", "cert.pem")
			if err := os.Chmod(filepath.Join(dir, "key.pem"), 0o600); err != nil {
				t.Fatal(err)
			}
			if name == "genpkey -outpub" { // -text puts words after the block
				if _, err := ReadPrivateKey(filepath.Join(dir, "key.pem")); !errors.Is(err, ErrKeyFile) {
					t.Errorf("with words after it: %v", err)
				}
				return
			}
			private, err := ReadPrivateKey(filepath.Join(dir, "key.pem"))
			if err != nil {
				t.Fatal(err)
			}
			want := sha256.Sum256(openssl(t, dir, "pkey", "-in", "key.pem", "-pubout", "-outform", "DER"))
			for _, file := range []string{"pub.pem", "cert.pem"} {
				public, err := ReadPublicKey(filepath.Join(dir, file))
				if err != nil {
					t.Fatal(err)
				}
				if !public.Equal(private.PublicKey()) || Fingerprint(public) != hex.EncodeToString(want[:]) {
					t.Errorf("%s holds another key", file)
				}
			}
			o, _ := options(t, 2, 2)
			o.Holders[0].Key = private.PublicKey()
			made, err := Write(&bytes.Buffer{}, each(nil), o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := made.Header.OpenShare(made.Header.Shares[0], private); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestKeysRefused(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) { openssl(t, dir, args...) }
	run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "good.key")
	run("pkey", "-in", "good.key", "-pubout", "-out", "good.pub")
	run("ecparam", "-name", "secp384r1", "-genkey", "-out", "p384.key")
	run("pkey", "-in", "p384.key", "-pubout", "-out", "p384.pub")
	run("ecparam", "-name", "secp256k1", "-genkey", "-out", "k1.key")
	run("pkey", "-in", "k1.key", "-pubout", "-out", "k1.pub")
	run("ecparam", "-name", "prime256v1", "-genkey", "-param_enc", "explicit", "-out", "explicit.key")
	run("genpkey", "-algorithm", "ED25519", "-out", "ed.key")
	run("pkey", "-in", "ed.key", "-pubout", "-out", "ed.pub")
	run("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.key")
	run("req", "-x509", "-new", "-key", "rsa.key", "-subj", "/CN=h", "-days", "1", "-out", "rsa.pub")
	run("pkcs8", "-topk8", "-in", "good.key", "-passout", "pass:secret", "-out", "pkcs8.key")
	run("ec", "-in", "good.key", "-aes256", "-passout", "pass:secret", "-out", "legacy.key")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good, pub := read("good.key"), read("good.pub")
	for name, text := range map[string][]byte{
		"empty": nil, "words": []byte("hello"), "two": append(bytes.Clone(good), good...), "public": pub,
		"cut": good[:len(good)-40], "P-384": read("p384.key"), "secp256k1": read("k1.key"), "Ed25519": read("ed.key"), "RSA": read("rsa.key"),
		"explicit curve": read("explicit.key"), "PKCS #8 under a passphrase": read("pkcs8.key"), "SEC 1 under a passphrase": read("legacy.key"),
		"parameters only": []byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"),
		"empty block":     []byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"),
	} {
		if k, err := ParsePrivateKey(text); !errors.Is(err, ErrKeyFile) || k != nil {
			t.Errorf("private key, %s: %v", name, err)
		}
	}
	for name, text := range map[string][]byte{
		"empty": nil, "two": append(bytes.Clone(pub), pub...), "private": good, "P-384": read("p384.pub"), "secp256k1": read("k1.pub"),
		"Ed25519": read("ed.pub"), "RSA certificate": read("rsa.pub"), "words after it": append(bytes.Clone(pub), "hello"...),
	} {
		if k, err := ParsePublicKey(text); !errors.Is(err, ErrKeyFile) || k != nil {
			t.Errorf("public key, %s: %v", name, err)
		}
	}
}

func TestKeysFileMode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	openssl(t, dir, "ecparam", "-name", "prime256v1", "-genkey", "-out", path)
	for mode, ok := range map[fs.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o620: false, 0o610: false, 0o644: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := ReadPrivateKey(path)
		if ok != (err == nil) || !ok && !errors.Is(err, ErrKeyFile) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if _, err := ReadPrivateKey(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := ReadPublicKey(dir); !errors.Is(err, ErrKeyFile) {
		t.Errorf("a directory: %v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPrivateKey(fifo); !errors.Is(err, ErrKeyFile) {
		t.Errorf("a FIFO: %v", err)
	}
	long := filepath.Join(dir, "long")
	if err := os.WriteFile(long, make([]byte, maxKeyFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPublicKey(long); !errors.Is(err, ErrKeyFile) {
		t.Errorf("a long file: %v", err)
	}
}
