package exposure_test

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/catalog/exposure"
	"github.com/seed-6133abe0/rekey/key"
)

const (
	kidText = "00112233445566778899aabbccddeeff"
	owner   = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
)

// kid returns the KID whose bytes are all n.
func kid(n byte) key.KID { return key.KID(bytes.Repeat([]byte{n}, 16)) }

func named(t testing.TB) key.KID {
	t.Helper()
	k, err := key.ParseKID(kidText)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func at(t testing.TB, s string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return when.UTC()
}

func pack(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// readAll returns what a log yields before it ends, and how it ended.
func readAll(text string, o exposure.Options) ([]exposure.Fetch, exposure.Report, error) {
	l := exposure.Read(strings.NewReader(text), o)
	var all []exposure.Fetch
	for f, err := range l.All() {
		if err != nil {
			return all, l.Report(), err
		}
		all = append(all, f)
	}
	return all, l.Report(), nil
}

// The samples are written after each format's documentation.
const (
	// httpd.apache.org/docs/2.4/logs.html#accesslog, common and combined;
	// nginx.org/en/docs/http/ngx_http_log_module.html, combined.
	sampleCommon   = `192.0.2.7 - frank [10/Mar/2026:13:55:36 -0700] "GET /keys/1.key HTTP/1.0" 200 16`
	sampleCombined = `2001:db8::7 - - [10/Mar/2026:20:55:37 +0000] "GET /keys/1.key?token=abc HTTP/2.0" 206 16 "https://tv.example/watch" "Mozilla/5.0 (X11; Linux x86_64) Player/1.0"`

	// "Standard logging reference" of the CloudFront developer guide: two header
	// lines, 33 fields.
	cloudFrontHead = "#Version: 1.0\n" +
		"#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len sc-range-start sc-range-end\n"
	cloudFrontLine = "2026-03-10\t20:55:38\tFRA2\t412\t192.0.2.9\tGET\td111111abcdef8.cloudfront.net\t/keys/a%2520b.key\t200\t-\tMozilla/5.0%20(Macintosh)\tExpires=1&Signature=x&kid=7\t-\tHit\tSOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==\tcdn.example\thttps\t23\t0.001\t-\tTLSv1.3\tTLS_AES_128_GCM_SHA256\tHit\tHTTP/2.0\t-\t-\t11040\t0.001\tHit\tapplication/octet-stream\t16\t-\t-"

	// "Amazon S3 server access log format".
	sampleS3 = owner + ` media [10/Mar/2026:20:55:39 +0000] 192.0.2.3 arn:aws:iam::111122223333:user/alice 3E57427F3EXAMPLE REST.GET.OBJECT keys/a%2520b.key "GET /media/keys/a%20b.key?x-id=GetObject HTTP/1.1" 200 - 16 16 7 6 "-" "aws-cli/2.15" - s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 TLS_AES_128_GCM_SHA256 AuthHeader media.s3.us-west-1.amazonaws.com TLSv1.3 - -`

	// "CloudTrail record contents"; "CloudTrail log file entries for Amazon S3";
	// "Decrypt" under "Log file entries" of the KMS developer guide.
	eventGet = `{"eventVersion":"1.09","userIdentity":{"type":"IAMUser","principalId":"EX","arn":"arn:aws:iam::111122223333:user/alice","accountId":"111122223333","userName":"alice"},
 "eventTime":"2026-03-10T20:55:40Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"us-west-1","sourceIPAddress":"192.0.2.4","userAgent":"[aws-cli/2.15]",
 "requestParameters":{"bucketName":"media","key":"keys/a b%.key","Host":"media.s3.us-west-1.amazonaws.com"},"responseElements":null,
 "additionalEventData":{"bytesTransferredIn":0,"bytesTransferredOut":16},"readOnly":true,"resources":[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::media/keys/a b%.key"}],"eventType":"AwsApiCall","managementEvent":false}`
	eventDecrypt = `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/keyserver/i-0"},"eventTime":"2026-03-10T20:55:41Z","eventSource":"kms.amazonaws.com","eventName":"Decrypt","sourceIPAddress":"192.0.2.5","userAgent":"aws-sdk-go-v2",
 "requestParameters":{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","keyId":"arn:aws:kms:us-west-2:111122223333:key/1234abcd","encryptionContext":{"kid":"` + kidText + `","purpose":"rekey content key"}},"responseElements":null}`

	// "Use real-time access logs" of the CloudFront developer guide.
	sampleRealTime = `{"timestamp":"1773176142.250","c-ip":"2001:db8::9","sc-status":200,"cs-method":"GET","cs-host":"cdn.example","x-host-header":"d111111abcdef8.cloudfront.net","cs-uri-stem":"/keys/1.key?kid=7","cs-uri-query":"kid=7","cs-user-agent":"Mozilla/5.0%20(TV)"}`

	sampleJSON  = `{"time":"2026-03-10T21:55:43+01:00","client":"device-17","kid":"00112233-4455-6677-8899-AABBCCDDEEFF","uri":"/keys/1.key","status":200,"agent":"tv"}`
	sampleAudit = `{"id":"20260310T000000Z-0123456789abcdef/3","time":"2026-03-10T20:55:44Z","actor":"alice","host":"h","origin":"192.0.2.6","client":"key-1","action":"key.export","kid":"` + kidText + `","outcome":"allowed","reason":"use export","reviews":{}}`
)
