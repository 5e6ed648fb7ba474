package services_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/seed-6133abe0/rekey/internal/services"
)

func TestRedisAnswersUntilTheTestEnds(t *testing.T) {
	var first, second string
	t.Run("two at once", func(t *testing.T) {
		first, second = services.Redis(t), services.Redis(t)
		if first == second {
			t.Errorf("two servers at %s", first)
		}
		for _, addr := range []string{first, second} {
			if got := ping(t, addr); got != "+PONG\r\n" {
				t.Errorf("%s answers %q", addr, got)
			}
		}
	})
	for _, addr := range []string{first, second} {
		awaitClosed(t, addr)
	}
}

func TestMinIOKeepsAnObject(t *testing.T) {
	m := services.StartMinIO(t)
	m.Env(t)
	bucket := m.Bucket(t)
	if other := m.Bucket(t); other == bucket {
		t.Errorf("two buckets named %s", bucket)
	}
	// The default configuration, as store.Open uses it, must find the server.
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	name, want := aws.String("a/b"), []byte("object")
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &bucket, Key: name, Body: bytes.NewReader(want), IfNoneMatch: aws.String("*"),
	}); err != nil {
		t.Fatal(err)
	}
	out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: name})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(out.Body)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %q, error %v", got, err)
	}
}

// TestServerDiesWithTheTestBinary runs itself as a child that starts a Redis and
// exits at once without cleaning up.
func TestServerDiesWithTheTestBinary(t *testing.T) {
	const note = "REKEY_TEST_ORPHAN"
	if path := os.Getenv(note); path != "" {
		if err := os.WriteFile(path, []byte(services.Redis(t)), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Exit(0)
	}
	path := t.TempDir() + "/addr"
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, "-test.run=^TestServerDiesWithTheTestBinary$")
	child.Env = append(os.Environ(), note+"="+path)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("run the child: %v\n%s", err, out)
	}
	addr, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	awaitClosed(t, string(addr))
}

func ping(t *testing.T, addr string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 7)
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func awaitClosed(t *testing.T, addr string) {
	t.Helper()
	for range 500 {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return
		}
		conn.Close()
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s still answers", addr)
}
