package aws_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go/logging"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/aws"
)

func TestOptionsRefused(t *testing.T) {
	cleanEnv(t)
	good := aws.Options{Region: "eu-central-1", Load: loading()}
	if _, err := aws.New(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*aws.Options){
		"no region":               func(o *aws.Options) { o.Region = "" },
		"a region with a dot":     func(o *aws.Options) { o.Region = "eu-central-1.example.com" },
		"a region with a slash":   func(o *aws.Options) { o.Region = "eu-central-1/x" },
		"a region of another":     func(o *aws.Options) { o.Region, o.Load = "", loading(config.WithRegion("nowhere@example")) },
		"6 days":                  func(o *aws.Options) { o.PendingWindowInDays = 6 },
		"31 days":                 func(o *aws.Options) { o.PendingWindowInDays = 31 },
		"days ago":                func(o *aws.Options) { o.PendingWindowInDays = -7 },
		"negative timeout":        func(o *aws.Options) { o.CallTimeout = -time.Second },
		"negative poll":           func(o *aws.Options) { o.Poll = -time.Second },
		"negative bound":          func(o *aws.Options) { o.PollFor = -time.Second },
		"negative refusals":       func(o *aws.Options) { o.Refusals = -1 },
		"http":                    func(o *aws.Options) { o.Endpoint = "http://kms.example.com" },
		"http by name":            func(o *aws.Options) { o.Endpoint = "http://127.0.0.1.example.com" },
		"no scheme":               func(o *aws.Options) { o.Endpoint = "kms.example.com" },
		"a path":                  func(o *aws.Options) { o.Endpoint = "https://kms.example.com/x" },
		"a password":              func(o *aws.Options) { o.Endpoint = "https://user:hush-hush@kms.example.com" },
		"settings that are wrong": func(o *aws.Options) { o.Load = loading(func(*config.LoadOptions) error { return errors.New("no") }) },
	} {
		o := good
		change(&o)
		if p, err := aws.New(t.Context(), o); !errors.Is(err, aws.ErrOptions) || p != nil {
			t.Errorf("%s: %v, %v; want ErrOptions", name, p, err)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: shows a password: %v", name, err)
		}
	}
}

// recorder refuses every call and says whither it was to go.
type recorder struct{ hosts []string }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.hosts = append(r.hosts, req.URL.Scheme+"://"+req.URL.Host)
	return nil, io.EOF
}

// TestWhither: a key goes to KMS of its ARN's region, and never to the object
// store that AWS_ENDPOINT_URL stands for.
func TestWhither(t *testing.T) {
	const id = "aws-kms:arn:aws:kms:%:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	for name, tt := range map[string]struct {
		env      map[string]string
		endpoint string
		region   string // of the KEK
		want     string
	}{
		"AWS":                     {nil, "", "eu-central-1", "https://kms.eu-central-1.amazonaws.com"},
		"another region":          {nil, "", "us-west-2", "https://kms.us-west-2.amazonaws.com"},
		"another partition":       {nil, "", "cn-north-1", "https://kms.cn-north-1.amazonaws.com.cn"},
		"FIPS":                    {map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}, "", "us-east-1", "https://kms-fips.us-east-1.amazonaws.com"},
		"the object store's":      {map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}, "", "eu-central-1", "https://kms.eu-central-1.amazonaws.com"},
		"KMS's own":               {map[string]string{"AWS_ENDPOINT_URL_KMS": "https://vpce.example.com"}, "", "eu-central-1", "https://vpce.example.com"},
		"both":                    {map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:9000", "AWS_ENDPOINT_URL_KMS": "https://vpce.example.com"}, "", "eu-central-1", "https://vpce.example.com"},
		"the option before these": {map[string]string{"AWS_ENDPOINT_URL_KMS": "https://vpce.example.com"}, "http://[::1]:1", "eu-central-1", "http://[::1]:1"},
	} {
		t.Run(name, func(t *testing.T) {
			cleanEnv(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			r := &recorder{}
			p, err := aws.New(t.Context(), aws.Options{Region: "eu-central-1", Endpoint: tt.endpoint, Load: loading(
				config.WithHTTPClient(&http.Client{Transport: r}), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("a", "b", "")))})
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.Wrap(t.Context(), strings.Replace(id, "%", tt.region, 1), key.KID{}, key.NewContentKey())
			wantOne(t, "Wrap", err, kms.ErrUnavailable)
			if len(r.hosts) != 1 || r.hosts[0] != tt.want {
				t.Errorf("goes to %q, want %s once", r.hosts, tt.want)
			}
		})
	}
	t.Run("in the clear", func(t *testing.T) {
		cleanEnv(t)
		t.Setenv("AWS_ENDPOINT_URL_KMS", "http://kms.example.com")
		if _, err := aws.New(t.Context(), aws.Options{Region: "eu-central-1", Load: loading()}); !errors.Is(err, aws.ErrOptions) {
			t.Errorf("New: %v, want ErrOptions", err)
		}
	})
}

// TestBodiesAreNotLogged switches on the client's body log, as settings might.
func TestBodiesAreNotLogged(t *testing.T) {
	k := newKEK(t)
	var log strings.Builder
	noisy := []func(*config.LoadOptions) error{
		config.WithClientLogMode(sdk.LogRequestWithBody | sdk.LogResponseWithBody | sdk.LogSigning),
		config.WithLogger(logging.NewStandardLogger(&log)),
	}
	p := k.open(t, func(o *aws.Options) { o.Load = append(o.Load, noisy...) })
	c := key.NewContentKey()
	raw := c.RevealSecretBytes()
	shown := base64.StdEncoding.EncodeToString(raw[:])
	w, err := p.Wrap(t.Context(), k.id, key.KID{}, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Unwrap(t.Context(), k.id, key.KID{}, w); err != nil {
		t.Fatal(err)
	}
	if log.Len() != 0 {
		t.Errorf("logged: %s", log.String())
	}
	// The control: the client alone logs it.
	cfg, err := config.LoadDefaultConfig(t.Context(), loading(append(noisy, config.WithRegion(k.Region),
		config.WithHTTPClient(&http.Client{Transport: k.service}), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("a", "b", "")))...)...)
	if err != nil {
		t.Fatal(err)
	}
	arn := k.arn()
	if _, err := awskms.NewFromConfig(cfg).Encrypt(t.Context(), &awskms.EncryptInput{KeyId: &arn, Plaintext: raw[:]}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), shown) {
		t.Error("the client by itself did not log the plaintext: the test shows nothing")
	}
}

// failing is a source of credentials.
type failing struct{ err error }

func (f failing) Retrieve(context.Context) (sdk.Credentials, error) { return sdk.Credentials{}, f.err }

// TestCredentials: where they come from may fail in its own ways.
func TestCredentials(t *testing.T) {
	k := newKEK(t)
	with := func(more ...func(*config.LoadOptions) error) kms.Provider {
		return k.open(t, func(o *aws.Options) {
			o.Load = append(o.Load, config.WithCredentialsProvider(nil))
			o.Load = append(o.Load, more...)
		})
	}
	k.taken()
	for name, do := range everyCall(t, kek{k.service, with(), k.id}, "other") {
		wantOne(t, name+" without credentials", do(), kms.ErrDenied)
	}
	for name, source := range map[string]sdk.CredentialsProvider{
		"empty":         credentials.NewStaticCredentialsProvider("", "", ""),
		"of a bad file": failing{errors.New("profile is not there")},
	} {
		_, err := with(config.WithCredentialsProvider(source)).Describe(t.Context(), k.id)
		wantOne(t, name, err, kms.ErrDenied)
		if !strings.Contains(err.Error(), "credentials") {
			t.Errorf("%s: does not say that it is the credentials: %v", name, err)
		}
	}
	if calls := k.taken(); len(calls) != 0 {
		t.Errorf("called %q without credentials", calls)
	}
}

// TestCredentialsService: a role's credentials come from STS, over the client's
// own transport.
func TestCredentialsService(t *testing.T) {
	k := newKEK(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("a.b.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	refuse := func(status int, code string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>`+code+`</Code><Message>no</Message></Error></ErrorResponse>`)
		}
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc // nil: nobody listens
		want   error
	}{
		"expired":      {refuse(400, "ExpiredTokenException"), kms.ErrDenied},
		"denied":       {refuse(403, "AccessDenied"), kms.ErrDenied},
		"throttled":    {refuse(400, "Throttling"), kms.ErrThrottled},
		"failing":      {refuse(503, "ServiceUnavailable"), kms.ErrUnavailable},
		"not there":    {nil, kms.ErrUnavailable},
		"not a key":    {refuse(400, "NotFoundException"), kms.ErrDenied},
		"not disabled": {refuse(400, "DisabledException"), kms.ErrDenied},
	} {
		server := httptest.NewServer(tt.answer)
		if tt.answer == nil {
			server.Close()
		} else {
			defer server.Close()
		}
		t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
		t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
		t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/rekey")
		t.Setenv("AWS_MAX_ATTEMPTS", "1")
		p := k.open(t, func(o *aws.Options) {
			o.Load = append(o.Load, config.WithCredentialsProvider(nil), config.WithHTTPClient(server.Client()))
		})
		_, err := p.Wrap(t.Context(), k.id, key.KID{}, key.NewContentKey())
		wantOne(t, name, err, tt.want)
		if err != nil && !strings.Contains(err.Error(), "credentials") {
			t.Errorf("%s: does not say that it is the credentials: %v", name, err)
		}
	}
}
