package services_test

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/seed-6133abe0/rekey/internal/services"
)

func TestLocalKMSKeepsAKey(t *testing.T) {
	var addresses []string
	t.Run("two at once", func(t *testing.T) {
		one, two := services.StartLocalKMS(t), services.StartLocalKMS(t)
		client := func(k services.LocalKMS) *kms.Client {
			u, err := url.Parse(k.Endpoint)
			if err != nil {
				t.Fatal(err)
			}
			addresses = append(addresses, u.Host)
			return kms.New(kms.Options{
				BaseEndpoint: &k.Endpoint, Region: k.Region, Retryer: aws.NopRetryer{},
				Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
			})
		}
		first, second := client(one), client(two)
		made, err := first.CreateKey(t.Context(), &kms.CreateKeyInput{})
		if err != nil || !strings.Contains(*made.KeyMetadata.Arn, ":"+one.Account+":") {
			t.Fatalf("CreateKey: %+v, %v", made, err)
		}
		id, want := made.KeyMetadata.Arn, []byte("text")
		sealed, err := first.Encrypt(t.Context(), &kms.EncryptInput{KeyId: id, Plaintext: want})
		if err != nil {
			t.Fatal(err)
		}
		back, err := first.Decrypt(t.Context(), &kms.DecryptInput{KeyId: id, CiphertextBlob: sealed.CiphertextBlob})
		if err != nil || !bytes.Equal(back.Plaintext, want) {
			t.Errorf("Decrypt: %+v, %v", back, err)
		}
		if _, err := second.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: id}); err == nil {
			t.Error("one server knows the other's key")
		}
	})
	for _, addr := range addresses {
		awaitClosed(t, addr)
	}
}
