package keyservices

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"debug/buildinfo"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/internal/judge"
)

// module is the validated version of the Go Cryptographic Module, as make fips
// takes it.
const module = "v1.0.0"

// fipsProgram builds the program with the validated module.
func fipsProgram(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	name := filepath.Join(dir, "rekey-fips")
	if err := build(name, []string{"GOFIPS140=" + module}, flags...); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range info.Settings {
		if s.Key == "GOFIPS140" && strings.HasPrefix(s.Value, module) {
			return name
		}
	}
	t.Fatalf("%s is built without GOFIPS140=%s: %v", name, module, info.Settings)
	return ""
}

// TestFIPSRotation: with the validated module and FIPS 140-3 on, everything runs.
func TestFIPSRotation(t *testing.T) {
	t.Parallel()
	ctx, dir := bounded(t), t.TempDir()
	s := localFile(t, ctx, dir)
	s.env = append(s.env, "GODEBUG=fips140=on")
	l := newLab(t, dir, s)
	l.program = fipsProgram(t, dir)
	one := l.firstKEK(t, ctx)
	l.stock(t, ctx)
	l.fed(t, ctx, string(fixtures.Keys()), "keys", "import", "-")
	l.do(t, ctx, "scan")
	l.rotate(t, ctx, shortVideo, otherVideo)
	l.allUnder(t, ctx, l.rotateKEK(t, ctx, one))
	l.verify(t, ctx)
}

// TestFIPSOnly: the build for hosts that enforce FIPS 140-3, where they do.
func TestFIPSOnly(t *testing.T) {
	t.Parallel()
	fips := fipsProgram(t, t.TempDir(), "-tags", "fipsonly")
	open := func(t *testing.T, start func(*testing.T, context.Context, string) service) (*lab, context.Context) {
		t.Parallel()
		ctx, dir := bounded(t), t.TempDir()
		s := start(t, ctx, dir)
		s.env = append(s.env, "GODEBUG=fips140=only")
		l := newLab(t, dir, s)
		l.program = fips
		return l, ctx
	}
	for _, tt := range []testCase{
		{name: "local", start: localFile}, {name: "local passphrase", start: localPassphrase},
		{name: "aws-kms", start: awsKMS}, {name: "gcp-kms", start: gcpKMS}, {name: "vault", start: vaultTransit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, ctx := open(t, tt.start)
			one := l.firstKEK(t, ctx)
			l.fed(t, ctx, string(fixtures.Keys()), "keys", "import", "-")
			l.allUnder(t, ctx, l.rotateKEK(t, ctx, one))
			first, _, _ := strings.Cut(string(fixtures.Keys()), "\n")
			kid, _, _ := strings.Cut(first, ":")
			if got := l.do(t, ctx, "keys", "export", kid, "--reveal", "--reason", "test"); got != first+"\n" {
				t.Error("keys export does not print the key that was imported")
			}
		})
	}
	t.Run("file", func(t *testing.T) {
		l, ctx := open(t, localFile)
		l.rekeysFile(t, ctx)
	})
	t.Run("audit and backup", func(t *testing.T) {
		l, ctx := open(t, localFile)
		l.fed(t, ctx, string(fixtures.Keys()), "keys", "import", "-")
		l.backsUp(t, ctx)
		l.do(t, ctx, "audit", "sequence", "--signing-key", "audit.key", "--verifier-key", "audit.pub", "--ship", "held")
		if out := l.do(t, ctx, "audit", "verify", "--key", "audit.pub", "--checkpoint", "held"); !strings.Contains(out, " 0 findings") {
			t.Errorf("audit verify: %s", out)
		}
	})
	t.Run("refused", func(t *testing.T) {
		l, ctx := open(t, localFile)
		l.refusesSHA1(t, ctx)
	})
}

// rekeysFile: FFmpeg reads what rekey file wrote, with the new key and not with
// the old one.
func (l *lab) rekeysFile(t *testing.T, ctx context.Context) {
	t.Helper()
	var in bytes.Buffer
	for _, name := range []string{"init.mp4", "001.m4s", "002.m4s"} {
		b, err := fs.ReadFile(fixtures.Library(), "short/video/"+name)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(b)
	}
	old := regexp.MustCompile(shortVideo + ":([0-9a-f]{32})").FindSubmatch(fixtures.Keys())
	if old == nil {
		t.Fatalf("no key of %s among the fixtures", shortVideo)
	}
	const fresh = "7b0c3e9d51f24a868d37c15ea902f64b"
	l.write(t, "in.mp4", in.Bytes())
	l.write(t, "keys", fmt.Appendf(nil, "%s:%s 00112233445566778899aabbccddeeff:%s\n", shortVideo, old[1], fresh))
	l.do(t, ctx, "file", "in.mp4", "out.mp4", "--keys", "keys")
	out := l.read(t, "out.mp4")
	want := fixtures.ClearStreams()["short/video"]
	if got, err := judge.FileStreams(t, fresh, out); err != nil || !slices.Equal(got, []string{want}) {
		t.Errorf("with the new key: %v, %v; want %s", got, err, want)
	}
	if got, err := judge.FileStreams(t, string(old[1]), out); err == nil && slices.Contains(got, want) {
		t.Error("the old key still opens the file")
	}
}

// backsUp writes a backup and proves it on a scratch store.
func (l *lab) backsUp(t *testing.T, ctx context.Context) {
	t.Helper()
	args := []string{"keys", "backup", "keys.backup", "--threshold", "2", "--enrol", "otp", "--reason", "test"}
	for _, name := range []string{"anna", "ben", "cleo"} {
		k, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		public, err := x509.MarshalPKIXPublicKey(k.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		l.write(t, name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
		l.write(t, name+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
		args = append(args, "--holder", name+"="+name+".pub")
	}
	l.do(t, ctx, args...)
	l.write(t, "cleo.share", []byte(l.do(t, ctx, "keys", "share", "keys.backup", "--holder-key", "cleo.key", "--to", "anna.pub")))
	k, err := otp.NewKeyFromURL(strings.TrimSpace(string(l.read(t, "otp"))))
	if err != nil {
		t.Fatal(err)
	}
	code, err := totp.GenerateCodeCustom(k.Secret(), time.Now(), totp.ValidateOpts{
		Period: uint(k.Period()), Digits: k.Digits(), Algorithm: k.Algorithm(),
	})
	if err != nil {
		t.Fatal(err)
	}
	restore := []string{"keys", "restore", "keys.backup", "--check", "--holder-key", "ben.key", "--share", "cleo.share", "--share-key", "anna.key", "--reason", "test"}
	n := strings.Count(string(fixtures.Keys()), "\n")
	if out := l.fed(t, ctx, code, restore...); !strings.Contains(out, fmt.Sprintf("%d keys and secrets, %[1]d of them were not there", n)) {
		t.Errorf("keys restore --check: %s", out)
	}
}

// refusesSHA1: what CPIX wraps by RSA-OAEP with SHA-1 is refused, with the reason,
// both ways, and there are no commands that need the queue.
func (l *lab) refusesSHA1(t *testing.T, ctx context.Context) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	l.write(t, "me.key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}))
	l.write(t, "me.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	l.fed(t, ctx, string(fixtures.Keys()), "keys", "import", "-")
	export := []string{"keys", "export", shortVideo, "--reveal", "--reason", "test", "--for", "cpix", "--recipient", "me.crt", "--out"}
	l.saysSHA1(t, ctx, append(export, "refused.xml")...)
	if _, err := os.Stat(filepath.Join(l.dir, "refused.xml")); err == nil {
		t.Error("a refused export left a file")
	}
	l.unenforced(func() { l.do(t, ctx, append(export, "doc.xml")...) })
	l.saysSHA1(t, ctx, "keys", "import", "doc.xml", "--decrypt-key", "me.key")
	if a := l.run(t, ctx, "", "compromise"); a.code != 2 || !strings.Contains(a.stderr, "unknown command") {
		t.Errorf("compromise: exit %d, %s; want an unknown command", a.code, a.stderr)
	}
}

// unenforced runs the same program where FIPS 140-3 is on and not enforced.
func (l *lab) unenforced(do func()) {
	env := l.env
	l.env = append(slices.Clone(env), "GODEBUG=fips140=on") // the last one counts
	do()
	l.env = env
}

// saysSHA1 wants a command refused because it needs SHA-1.
func (l *lab) saysSHA1(t *testing.T, ctx context.Context, args ...string) {
	t.Helper()
	l.refused(t, ctx, "not-fips", args...)
	if a := l.run(t, ctx, "", args...); !strings.Contains(a.stderr, "SHA-1") || strings.Contains(a.stderr, "goroutine") {
		t.Errorf("rekey %s: %s; want it to name SHA-1", strings.Join(args, " "), a.stderr)
	}
}

func (l *lab) write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
