package speke

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Auth makes a request the caller's.
type Auth interface {
	// Authorize adds headers to r, whose body is body. Its error is passed on as
	// it is, and holds no credential.
	Authorize(ctx context.Context, r *http.Request, body []byte, now time.Time) error
}

// headerAuth holds its secret in a function, where no printer looks.
type headerAuth struct{ set func(*http.Request) }

func (a headerAuth) Authorize(_ context.Context, r *http.Request, _ []byte, _ time.Time) error {
	a.set(r)
	return nil
}

// Bearer sends "Authorization: Bearer token" (RFC 6750 §2.1).
func Bearer(token string) Auth {
	return headerAuth{func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }}
}

// Basic sends name and password (RFC 7617).
func Basic(name, password string) Auth {
	return headerAuth{func(r *http.Request) { r.SetBasicAuth(name, password) }}
}

// Header sends a header by another name, such as "X-API-Key".
func Header(name, value string) Auth {
	return headerAuth{func(r *http.Request) { r.Header.Set(name, value) }}
}

type sigV4 struct {
	credentials     aws.CredentialsProvider
	region, service string
	signer          *v4.Signer
}

// SigV4 signs with AWS Signature Version 4, as SPEKE providers behind AWS's API
// Gateway ask. An empty service is "execute-api".
func SigV4(credentials aws.CredentialsProvider, region, service string) Auth {
	if service == "" {
		service = "execute-api"
	}
	return sigV4{credentials, region, service, v4.NewSigner()}
}

// Format keeps credentials that print themselves out of what prints a Client.
func (a sigV4) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "SigV4 "+a.region+" "+a.service) }

func (a sigV4) Authorize(ctx context.Context, r *http.Request, body []byte, now time.Time) error {
	c, err := a.credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("get AWS credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	return a.signer.SignHTTP(ctx, c, r, hex.EncodeToString(sum[:]), a.service, a.region, now)
}
