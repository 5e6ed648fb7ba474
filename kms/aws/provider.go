package aws

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go/logging"

	"github.com/seed-6133abe0/rekey/kms"
)

// Provider wraps under keys of AWS KMS. It is safe for concurrent use.
type Provider struct {
	o      Options
	client *awskms.Client
}

var _ kms.Provider = (*Provider)(nil)

// New reads AWS's settings. It calls no service: credentials are looked for when
// they are needed.
func New(ctx context.Context, o Options) (*Provider, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open AWS KMS: %w", err)
	}
	cfg, err := config.LoadDefaultConfig(ctx, o.Load...)
	if err != nil {
		return nil, fmt.Errorf("open AWS KMS: %w: %w", ErrOptions, err)
	}
	o.Region = or(o.Region, cfg.Region)
	if !regionName.MatchString(o.Region) {
		return nil, fmt.Errorf("open AWS KMS: %w: region %.100q: give one, or set AWS_REGION", ErrOptions, o.Region)
	}
	cfg.BaseEndpoint = nil // AWS_ENDPOINT_URL, see the package comment
	cfg.Credentials = credentialsSource{cfg.Credentials}
	client := awskms.NewFromConfig(cfg, func(s *awskms.Options) {
		s.Region = o.Region
		if o.Endpoint != "" {
			s.BaseEndpoint = &o.Endpoint
		}
		// A decorator of package kms tries again, and counts.
		s.Retryer = sdk.NopRetryer{}
		s.RetryMaxAttempts = 0
		// Bodies hold plaintexts.
		s.ClientLogMode = 0
		s.Logger = logging.Nop{}
	})
	if e := client.Options().BaseEndpoint; e != nil {
		if err := checkEndpoint(*e); err != nil {
			return nil, fmt.Errorf("open AWS KMS: %w", err)
		}
	}
	return &Provider{o: o, client: client}, nil
}

// String names the region.
func (p *Provider) String() string { return Scheme + ":" + p.o.Region }

// GoString names the region.
func (p *Provider) GoString() string { return p.String() }

// Format names the region for every verb: the options inside may hold
// credentials.
func (p *Provider) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue makes slog print the region.
func (p *Provider) LogValue() slog.Value { return slog.StringValue(p.String()) }

// call makes one call of the service of a region within its time. Errors are
// those of classify.
func call[In, Out any](ctx context.Context, p *Provider, region string, op func(context.Context, *In, ...func(*awskms.Options)) (*Out, error), in *In) (*Out, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, p.o.CallTimeout)
	defer cancel()
	out, err := op(limited, in, func(s *awskms.Options) { s.Region = region })
	if err != nil {
		return nil, classify(ctx, err)
	}
	return out, nil
}
