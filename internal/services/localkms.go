package services

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// LocalKMS is a running stand-in for AWS KMS and what a client needs to reach it.
// It checks no signatures and no policies: any credentials do.
type LocalKMS struct {
	Endpoint string // http://127.0.0.1:port
	Region   string
	Account  string // that owns every key in it
}

// StartLocalKMS starts the local-kms found at $REKEY_LOCAL_KMS, or where `make
// tools` leaves it, without any keys. It listens on the port it is given at every
// address of the machine; there is no way to tell it otherwise.
func StartLocalKMS(t testing.TB) LocalKMS {
	t.Helper()
	binary, err := localKMSBinary()
	if err != nil {
		t.Fatalf("package services needs local-kms: run `make tools`: %v", err)
	}
	account, err := rand.Int(rand.Reader, big.NewInt(1e12))
	if err != nil {
		t.Fatal(err)
	}
	k := LocalKMS{Region: "eu-central-1", Account: fmt.Sprintf("%012d", account)}
	data := t.TempDir()
	// The address changes with each attempt, and the port goes in by a variable.
	addr := start(t, server{
		name: "local-kms",
		env: []string{
			"KMS_ACCOUNT_ID=" + k.Account, "KMS_REGION=" + k.Region,
			"KMS_DATA_PATH=" + data, "KMS_SEED_PATH=" + filepath.Join(data, "no-seed"),
		},
		argv: func(addr string) []string {
			_, port, _ := net.SplitHostPort(addr)
			return []string{"/usr/bin/env", "PORT=" + port, binary}
		},
		ready: func(addr string) error { return k.ready(t, "http://"+addr) },
	})
	k.Endpoint = "http://" + addr
	return k
}

func localKMSBinary() (string, error) {
	path := os.Getenv("REKEY_LOCAL_KMS")
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		path = filepath.Join(cache, "rekey", "bin", "local-kms")
	}
	_, err := os.Stat(path)
	return path, err
}

// ready asks for a key that is not there: the refusal names the account, which
// tells this server from another one that took the port first.
func (k LocalKMS) ready(t testing.TB, endpoint string) error {
	client := kms.New(kms.Options{
		BaseEndpoint: aws.String(endpoint),
		Region:       k.Region,
		Retryer:      aws.NopRetryer{},
		Credentials:  credentials.NewStaticCredentialsProvider("ready", "ready", ""),
		HTTPClient:   &http.Client{Timeout: 2 * time.Second},
	})
	_, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String("ready")})
	var none *types.NotFoundException
	if errors.As(err, &none) && strings.Contains(none.ErrorMessage(), ":"+k.Account+":") {
		return nil
	}
	return fmt.Errorf("local-kms of account %s does not answer: %w", k.Account, err)
}
