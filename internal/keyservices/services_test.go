package keyservices

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/aws"
	"github.com/seed-6133abe0/rekey/kms/gcp"
	"github.com/seed-6133abe0/rekey/kms/gcp/gcptest"
	"github.com/seed-6133abe0/rekey/kms/vault"
	"github.com/seed-6133abe0/rekey/kms/vault/vaulttest"
)

// localFile is a master key file in the clear.
func localFile(_ *testing.T, _ context.Context, dir string) service {
	return service{
		scheme: kms.LocalScheme, config: []string{"local: {destroy_after: 7d}"},
		client: kms.NewLocal(kms.LocalOptions{Path: filepath.Join(dir, "master.key")}),
		files:  []string{filepath.Join(dir, "master.key"), filepath.Join(dir, "master.key.d")},
	}
}

// localPassphrase is a master key file under a passphrase, which the program
// asks for on its terminal.
func localPassphrase(_ *testing.T, _ context.Context, dir string) service {
	const pass = "eleven Otters under the weir"
	return service{
		scheme: kms.LocalScheme, config: []string{"local: {passphrase: prompt}"}, passphrase: pass,
		secrets: map[string]string{"passphrase": pass},
		files:   []string{filepath.Join(dir, "master.key"), filepath.Join(dir, "master.key.d")},
		client: kms.NewLocal(kms.LocalOptions{
			Path:       filepath.Join(dir, "master.key"),
			Passphrase: func(string, bool) ([]byte, error) { return []byte(pass), nil },
		}),
	}
}

// awsKMS is a local-kms behind a proxy that can drop connections, beside MinIO
// and Redis.
func awsKMS(t *testing.T, ctx context.Context, _ string) service {
	s := services.StartLocalKMS(t)
	to, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g := newGate()
	proxy := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.closed(r.Header.Get("X-Amz-Target") == "TrentService.Decrypt") {
			panic(http.ErrAbortHandler) // the connection ends, without an answer
		}
		proxy.ServeHTTP(w, r)
	}))
	front.Config.ErrorLog = log.New(io.Discard, "", 0)
	front.Start()
	t.Cleanup(front.Close)
	client, err := aws.New(ctx, aws.Options{
		Region: s.Region, Endpoint: s.Endpoint,
		Load: []func(*config.LoadOptions) error{config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("a", "b", ""))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return service{
		scheme: aws.Scheme, config: []string{fmt.Sprintf("aws: {region: %s, endpoint: %q}", s.Region, front.URL)},
		client: client, gate: g, s3: true,
	}
}

// gcpKMS is the stand-in for Cloud KMS.
func gcpKMS(t *testing.T, ctx context.Context, _ string) service {
	s, g := gcptest.New(), newGate()
	addr := s.Serve(t)
	s.Set(func() {
		s.Fault = func(_ context.Context, method string) error {
			if g.closed(method == "Decrypt") {
				return status.Error(codes.Unavailable, "The service is currently unavailable.")
			}
			return nil
		}
	})
	client, err := gcp.New(ctx, gcp.Options{KeyRing: gcptest.Ring, Endpoint: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return service{
		scheme: gcp.Scheme, config: []string{fmt.Sprintf("gcp: {key_ring: %s, endpoint: %q}", gcptest.Ring, addr)},
		env:    []string{"GOOGLE_APPLICATION_CREDENTIALS=" + os.DevNull}, // there are none, and none are looked for
		client: client, gate: g,
	}
}

// vaultTransit is the stand-in for Vault.
func vaultTransit(t *testing.T, ctx context.Context, dir string) service {
	s, g := vaulttest.New(t), newGate()
	s.Set(func() {
		s.Fault = func(r vaulttest.Request) (int, string) {
			if g.closed(strings.HasPrefix(r.Path, "transit/decrypt/")) {
				return http.StatusServiceUnavailable, `{"errors":["Vault is sealed"]}`
			}
			return 0, ""
		}
	})
	token, ca := filepath.Join(dir, "vault.token"), filepath.Join(dir, "vault.pem")
	for name, b := range map[string][]byte{token: []byte(vaulttest.RootToken + "\n"), ca: s.CA()} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client, err := vault.New(ctx, vault.Options{Address: s.URL, TokenFile: token, CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	return service{
		scheme: vault.Scheme, config: []string{fmt.Sprintf("vault: {address: %q, token_file: %q, ca_file: %q}", s.URL, token, ca)},
		secrets: map[string]string{"token": vaulttest.RootToken},
		client:  client, gate: g,
	}
}

// TestEndpointElsewhere: without credentials and TLS, Cloud KMS is on this machine
// or nowhere.
func TestEndpointElsewhere(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := newLab(t, t.TempDir(), service{scheme: gcp.Scheme, config: []string{"gcp: {key_ring: " + gcptest.Ring + ", endpoint: 192.0.2.1:443}"}})
	a := l.run(t, ctx, "", "--json", "kek", "create", "one", "--provider", gcp.Scheme, "--reason", "test")
	if a.code != 2 || !strings.Contains(a.stderr, `"class":"usage"`) || !strings.Contains(a.stderr, "192.0.2.1:443") || !strings.Contains(a.stderr, "loopback") {
		t.Errorf("exit %d, %s", a.code, a.stderr)
	}
}
