package gcp_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloud.google.com/go/kms/apiv1/kmspb"

	"github.com/seed-6133abe0/rekey/key"
)

// TestDebugLogIsSilent switches on the client's debug log, as an operator might
// on a worker.
func TestDebugLogIsSilent(t *testing.T) {
	t.Setenv("GOOGLE_SDK_GO_LOGGING_LEVEL", "debug")
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	real := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = real }()
	logged := func() string {
		b, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}

	k := newKEK(t, newService(), nil)
	c := key.NewContentKey()
	secret := c.RevealSecretBytes()
	shown := base64.StdEncoding.EncodeToString(secret[:])
	if _, err := k.Unwrap(t.Context(), k.id, key.KID{}, k.wrapped(t, key.KID{}, c)); err != nil {
		t.Fatal(err)
	}
	if got := logged(); got != "" {
		t.Errorf("logged: %s", got)
	}
	// The control: the client alone logs it.
	if _, err := k.raw(t).Encrypt(t.Context(), &kmspb.EncryptRequest{Name: k.name(), Plaintext: secret[:]}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(logged(), shown) {
		t.Error("the client by itself did not log the plaintext: the test shows nothing")
	}
}
