package exposure_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog/exposure"
)

// fetchCase is one line, and what must be read from it.
type fetchCase struct {
	name, text string
	format     exposure.Format
	want       exposure.Fetch
}

func sampleCases(t testing.TB) []fetchCase {
	web := func(s, client, uri, agent string, status int) exposure.Fetch {
		return exposure.Fetch{Time: at(t, s), Client: client, Address: client, URI: uri, Agent: agent, Status: status}
	}
	return []fetchCase{
		{"common", sampleCommon, exposure.Combined, web("2026-03-10T20:55:36Z", "192.0.2.7", "/keys/1.key", "", 200)},
		{"combined", sampleCombined, exposure.Combined, web("2026-03-10T20:55:37Z", "2001:db8::7", "/keys/1.key?token=abc", "Mozilla/5.0 (X11; Linux x86_64) Player/1.0", 206)},
		{"cloudfront", cloudFrontHead + cloudFrontLine, exposure.CloudFront, web("2026-03-10T20:55:38Z", "192.0.2.9", "https://cdn.example/keys/a%20b.key?Expires=1&Signature=x&kid=7", "Mozilla/5.0 (Macintosh)", 200)},
		{"s3", sampleS3, exposure.S3, exposure.Fetch{Time: at(t, "2026-03-10T20:55:39Z"), Client: "arn:aws:iam::111122223333:user/alice", Address: "192.0.2.3", URI: "s3://media/keys/a%20b.key", Status: 200, Agent: "aws-cli/2.15"}},
		{"cloudtrail get", `{"Records":[` + eventGet + `]}`, exposure.CloudTrail, exposure.Fetch{Time: at(t, "2026-03-10T20:55:40Z"), Client: "arn:aws:iam::111122223333:user/alice", Address: "192.0.2.4", URI: "s3://media/keys/a%20b%25.key", Status: 200, Agent: "[aws-cli/2.15]"}},
		{"cloudtrail decrypt", "{\n  \"Records\" : [\n" + eventDecrypt + "\n]\n}\n", exposure.CloudTrail, exposure.Fetch{Time: at(t, "2026-03-10T20:55:41Z"), Client: "arn:aws:sts::111122223333:assumed-role/keyserver/i-0", Address: "192.0.2.5", KID: named(t), Status: 200, Agent: "aws-sdk-go-v2"}},
		{"cloudtrail lines", strings.ReplaceAll(eventDecrypt, "\n", "") + "\n", exposure.CloudTrail, exposure.Fetch{Time: at(t, "2026-03-10T20:55:41Z"), Client: "arn:aws:sts::111122223333:assumed-role/keyserver/i-0", Address: "192.0.2.5", KID: named(t), Status: 200, Agent: "aws-sdk-go-v2"}},
		{"real-time", sampleRealTime, exposure.CloudFrontJSON, web("2026-03-10T20:55:42.25Z", "2001:db8::9", "https://cdn.example/keys/1.key?kid=7", "Mozilla/5.0 (TV)", 200)},
		{"json", sampleJSON, exposure.JSON, exposure.Fetch{Time: at(t, "2026-03-10T20:55:43Z"), Client: "device-17", Address: "device-17", KID: named(t), URI: "/keys/1.key", Status: 200, Agent: "tv"}},
		{"audit", sampleAudit, exposure.Audit, exposure.Fetch{Time: at(t, "2026-03-10T20:55:44Z"), Client: "alice", Address: "192.0.2.6", KID: named(t), Status: 200}},
	}
}

// Every format is told by its lines, packed or not, with any line end.
func TestFormats(t *testing.T) {
	seen := map[exposure.Format]bool{}
	for _, c := range sampleCases(t) {
		seen[c.format] = true
		t.Run(c.name, func(t *testing.T) {
			for name, text := range map[string]string{
				"plain": c.text, "gzip": pack(t, c.text), "members": pack(t, c.text[:9]) + pack(t, c.text[9:]),
				"CRLF": strings.ReplaceAll(c.text, "\n", "\r\n") + "\r\n", "mark": "\ufeff" + c.text, "blank": "\n\n" + c.text + "\n\n",
			} {
				got, r, err := readAll(text, exposure.Options{Name: name})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if r.Format != c.format || r.Lines != 1 || r.Fetches != 1 {
					t.Errorf("%s: report %+v", name, r)
				}
				if len(got) != 1 || !reflect.DeepEqual(got[0], c.want) {
					t.Errorf("%s:\n got %+v\nwant %+v", name, got, c.want)
				}
			}
		})
	}
	for _, f := range exposure.Formats() {
		if !seen[f] {
			t.Errorf("no sample of format %s", f)
		}
	}
}

// What one line of a format becomes, field by field.
func TestLines(t *testing.T) {
	const head, get = `192.0.2.7 - - [10/Mar/2026:20:55:36 +0000] `, `"GET /k HTTP/1.1" 200 16`
	short := "#Version: 1.0\n#Fields: "
	tail := ` - 16 16 7 6 "-" "x" - h SigV4 c AuthHeader e TLSv1.3`
	s3 := func(op, k, request, status string) string {
		return owner + ` media [10/Mar/2026:20:55:39 +0000] 192.0.2.3 - ID ` + op + ` ` + k + ` ` + request + ` ` + status + tail
	}
	trail := func(old, new string) string {
		return strings.ReplaceAll(strings.Replace(eventGet, old, new, 1), "\n", "")
	}
	type want struct{ time, client, uri, agent, what string } // what: fetch, same, refused, other, bad
	for _, c := range []struct {
		name   string
		format exposure.Format
		text   string
		want   want
	}{
		// httpd.apache.org/docs/2.4/mod/mod_log_config.html "Format Notes": quotes
		// and backslashes are escaped with a backslash, the rest as \xhh.
		{"escaped agent", exposure.Combined, head + get + ` "-" "say \"hi\" \\ \x41 \t"`, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/k", "say \"hi\" \\ A \t", "fetch"}},
		{"nginx escapes", exposure.Combined, head + get + ` "-" "say \x22hi\x22"`, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/k", `say "hi"`, "fetch"}},
		{"more fields", exposure.Combined, head + get + ` "-" "a" "10.0.0.1" 0.003`, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/k", "a", "fetch"}},
		{"agent of dash", exposure.Combined, head + get + ` "-" "-"`, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/k", "", "fetch"}},
		{"agent cut off", exposure.Combined, head + get + ` "-" "Moz`, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/k", "", "fetch"}},
		{"west", exposure.Combined, `::1 - - [31/Dec/2025:20:30:00 -0930] ` + get, want{"2026-01-01T06:00:00Z", "::1", "/k", "", "fetch"}},
		{"east", exposure.Combined, `::1 - - [01/Mar/2024:04:00:00 +0545] ` + get, want{"2024-02-29T22:15:00Z", "::1", "/k", "", "fetch"}},
		{"leap second", exposure.Combined, `::1 - - [31/Dec/2016:23:59:60 +0000] ` + get, want{"2017-01-01T00:00:00Z", "::1", "/k", "", "fetch"}},
		{"user with brackets", exposure.Combined, `192.0.2.7 - a [10/Mar/2026:00:00:00 +0000] b [10/Mar/2026:20:55:36 +0000] ` + get, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/k", "", "fetch"}},
		{"empty user", exposure.Combined, `192.0.2.7 - "" [10/Mar/2026:20:55:36 +0000] ` + get, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/k", "", "fetch"}},
		{"vhost", exposure.Combined, `keys.example:443 192.0.2.7 - - [10/Mar/2026:20:55:36 +0000] ` + get, want{"2026-03-10T20:55:36Z", "192.0.2.7", "http://keys.example:443/k", "", "fetch"}},
		{"user of two words", exposure.Combined, `192.0.2.7 - Jane Doe [10/Mar/2026:20:55:36 +0000] ` + get, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/k", "", "fetch"}},
		{"ident", exposure.Combined, `192.0.2.7 jane jane doe [10/Mar/2026:20:55:36 +0000] ` + get, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/k", "", "fetch"}},
		{"by way of syslog", exposure.Combined, `Mar 10 20:55:36 edge nginx: 192.0.2.7 - - [10/Mar/2026:20:55:36 +0000] ` + get, want{what: "bad"}},
		{"vhost and name", exposure.Combined, `keys.example:443 tv.example - - [10/Mar/2026:20:55:36 +0000] ` + get, want{what: "bad"}},
		{"no client", exposure.Combined, `- - - [10/Mar/2026:20:55:36 +0000] ` + get, want{what: "bad"}},
		{"host name", exposure.Combined, `tv.example - - [10/Mar/2026:20:55:36 +0000] ` + get, want{"2026-03-10T20:55:36Z", "tv.example", "/k", "", "fetch"}},
		{"absolute form", exposure.Combined, head + `"GET http://k.example/k HTTP/1.1" 200 16`, want{"2026-03-10T20:55:36Z", "192.0.2.7", "http://k.example/k", "", "fetch"}},
		{"blank in URI", exposure.Combined, head + `"GET /a b HTTP/1.1" 200 16`, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/a b", "", "fetch"}},
		{"quote in URI", exposure.Combined, head + `"GET /a\"b HTTP/1.1" 200 16`, want{"2026-03-10T20:55:36Z", "192.0.2.7", `/a"b`, "", "fetch"}},
		{"HTTP/0.9", exposure.Combined, head + `"GET /k" 200 16`, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/k", "", "fetch"}},
		{"post", exposure.Combined, head + `"POST /k HTTP/1.1" 200 16`, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/k", "", "fetch"}},
		{"not modified", exposure.Combined, head + `"GET /k HTTP/1.1" 304 0`, want{"2026-03-10T20:55:36Z", "192.0.2.7", "/k", "", "same"}},
		{"forbidden", exposure.Combined, head + `"GET /k HTTP/1.1" 403 0`, want{what: "refused"}},
		{"redirect", exposure.Combined, head + `"GET /k HTTP/1.1" 302 0`, want{what: "refused"}},
		{"head", exposure.Combined, head + `"HEAD /k HTTP/1.1" 200 0`, want{what: "other"}},
		{"preflight", exposure.Combined, head + `"OPTIONS /k HTTP/1.1" 204 0`, want{what: "other"}},
		{"TLS on a plain port", exposure.Combined, head + `"\x16\x03\x01" 400 157 "-" "-"`, want{what: "other"}},
		{"no request", exposure.Combined, head + `"-" 408 0`, want{what: "other"}},
		{"no day", exposure.Combined, `::1 - - [31/Feb/2026:00:00:00 +0000] ` + get, want{what: "bad"}},
		{"no month", exposure.Combined, `::1 - - [01/anF/2026:00:00:00 +0000] ` + get, want{what: "bad"}},
		{"no hour", exposure.Combined, `::1 - - [01/Jan/2026:24:00:00 +0000] ` + get, want{what: "bad"}},
		{"no zone", exposure.Combined, `::1 - - [01/Jan/2026:00:00:00 *0000] ` + get, want{what: "bad"}},
		{"no status", exposure.Combined, head + `"GET /k HTTP/1.1" - 16`, want{what: "bad"}},
		{"no quote", exposure.Combined, head + `"GET /k HTTP/1.1 200 16`, want{what: "bad"}},
		{"half", exposure.Combined, `192.0.2.7 - - [10/Mar/2026:20`, want{what: "bad"}},

		{"fields reordered", exposure.CloudFront, short + "sc-status cs-uri-stem c-ip cs(Host) time date\n200\t/k\t2001:db8::1\tcdn.example\t01:02:03\t2026-03-10", want{"2026-03-10T01:02:03Z", "2001:db8::1", "https://cdn.example/k", "", "fetch"}},
		{"fields change on the way", exposure.CloudFront, short + "date time c-ip cs-uri-stem sc-status\n#Fields: sc-status cs-uri-stem c-ip timestamp\n200\t/k\t192.0.2.1\t1773176142", want{"2026-03-10T20:55:42Z", "192.0.2.1", "/k", "", "fetch"}},
		{"milliseconds", exposure.CloudFront, short + "timestamp(ms) c-ip cs-uri-stem sc-status\n1773176142250\t192.0.2.1\t/k\t200", want{"2026-03-10T20:55:42.25Z", "192.0.2.1", "/k", "", "fetch"}},
		{"viewer went away", exposure.CloudFront, short + "date time c-ip cs-uri-stem sc-status\n2026-03-10\t01:02:03\t192.0.2.1\t/k\t000", want{what: "refused"}},
		{"preflight at the edge", exposure.CloudFront, short + "date time c-ip cs-method cs-uri-stem sc-status\n2026-03-10\t01:02:03\t192.0.2.1\tOPTIONS\t/k\t200", want{what: "other"}},
		{"a field short", exposure.CloudFront, short + "date time c-ip cs-uri-stem sc-status\n2026-03-10\t01:02:03\t192.0.2.1\t/k", want{what: "bad"}},
		{"no address", exposure.CloudFront, short + "date time cs-uri-stem sc-status\n2026-03-10\t01:02:03\t/k\t200", want{what: "bad"}},
		{"no time", exposure.CloudFront, short + "c-ip cs-uri-stem sc-status\n192.0.2.1\t/k\t200", want{what: "bad"}},
		{"no fields line", exposure.CloudFront, "#Version: 1.0\n192.0.2.1\t/k\t200", want{what: "bad"}},
		{"standard as JSON", exposure.CloudFrontJSON, `{"date":"2026-03-10","time":"01:02:03","c-ip":"192.0.2.1","cs-uri-stem":"/k","cs-uri-query":"-","sc-status":"200","x-host-header":"cdn.example","cs(Host)":"d1.cloudfront.net","cs(User-Agent)":"a%2520b"}`, want{"2026-03-10T01:02:03Z", "192.0.2.1", "https://cdn.example/k", "a b", "fetch"}},
		{"timestamp of a list", exposure.CloudFrontJSON, `{"timestamp":[1],"c-ip":"192.0.2.1","cs-uri-stem":"/k","sc-status":"200"}`, want{what: "bad"}},
		{"timestamp not finite", exposure.CloudFrontJSON, `{"timestamp":"Inf","c-ip":"192.0.2.1","cs-uri-stem":"/k","sc-status":"200"}`, want{what: "bad"}},

		{"anonymous", exposure.S3, s3("REST.GET.OBJECT", "keys/1.key", `"GET /keys/1.key HTTP/1.1"`, "200"), want{"2026-03-10T20:55:39Z", "192.0.2.3", "s3://media/keys/1.key", "x", "fetch"}},
		{"key encoded once", exposure.S3, s3("REST.GET.OBJECT", "a%20b", `"GET /media/a%20b HTTP/1.1"`, "206"), want{"2026-03-10T20:55:39Z", "192.0.2.3", "s3://media/a%20b", "x", "fetch"}},
		{"copied away", exposure.S3, s3("REST.COPY.OBJECT_GET", "keys/1.key", `"PUT /other/1.key HTTP/1.1"`, "200"), want{"2026-03-10T20:55:39Z", "192.0.2.3", "s3://media/keys/1.key", "x", "fetch"}},
		{"not modified", exposure.S3, s3("REST.GET.OBJECT", "k", `"GET /k HTTP/1.1"`, "304"), want{"2026-03-10T20:55:39Z", "192.0.2.3", "s3://media/k", "x", "same"}},
		{"denied", exposure.S3, s3("REST.GET.OBJECT", "k", `"GET /k HTTP/1.1"`, "403"), want{what: "refused"}},
		{"head", exposure.S3, s3("REST.HEAD.OBJECT", "k", `"HEAD /k HTTP/1.1"`, "200"), want{what: "other"}},
		{"bucket listing", exposure.S3, s3("REST.GET.BUCKET", "-", `"GET /?list-type=2 HTTP/1.1"`, "200"), want{what: "other"}},
		{"expiry", exposure.S3, s3("S3.EXPIRE.OBJECT", "k", `-`, "-"), want{what: "other"}},
		{"cut off", exposure.S3, owner + ` media [10/Mar/2026:20:55:39 +0000] 192.0.2.3 - ID`, want{what: "bad"}},

		{"S3 denied", exposure.CloudTrail, trail(`"readOnly":true`, `"errorCode":"AccessDenied"`), want{what: "refused"}},
		{"anonymous", exposure.CloudTrail, trail(`"arn":"arn:aws:iam::111122223333:user/alice",`, ""), want{"2026-03-10T20:55:40Z", "192.0.2.4", "s3://media/keys/a%20b%25.key", "[aws-cli/2.15]", "fetch"}},
		{"head", exposure.CloudTrail, trail(`"GetObject"`, `"HeadObject"`), want{what: "other"}},
		{"copied away", exposure.CloudTrail, strings.Replace(trail(`"GetObject"`, `"CopyObject"`), `"key":`, `"x-amz-copy-source":"src/k%20.key","key":`, 1), want{"2026-03-10T20:55:40Z", "arn:aws:iam::111122223333:user/alice", "s3://src/k%20.key", "[aws-cli/2.15]", "fetch"}},
		{"no parameters", exposure.CloudTrail, `{"eventTime":"2026-03-10T20:55:40Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","requestParameters":null}`, want{what: "other"}},
		{"another secret", exposure.CloudTrail, `{"eventTime":"2026-03-10T20:55:40Z","eventSource":"kms.amazonaws.com","eventName":"Decrypt","requestParameters":{"encryptionContext":{"Department":"x"}}}`, want{what: "other"}},
		{"nobody", exposure.CloudTrail, `{"eventTime":"2026-03-10T20:55:40Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","requestParameters":{"bucketName":"b","key":"k"}}`, want{what: "bad"}},
		{"no event", exposure.CloudTrail, `{"a":1}`, want{what: "bad"}},

		{"head", exposure.JSON, `{"time":"2026-03-10T01:02:03Z","client":"a","uri":"/k","status":200,"method":"head"}`, want{what: "other"}},
		{"refused", exposure.JSON, `{"time":"2026-03-10T01:02:03Z","client":"a","uri":"/k","status":410}`, want{what: "refused"}},
		{"no client", exposure.JSON, `{"time":"2026-03-10T01:02:03Z","uri":"/k","status":200}`, want{what: "bad"}},
		{"no time", exposure.JSON, `{"client":"a","uri":"/k","status":200}`, want{what: "bad"}},
		{"no key", exposure.JSON, `{"time":"2026-03-10T01:02:03Z","client":"a","status":200}`, want{what: "bad"}},
		{"bad key", exposure.JSON, `{"time":"2026-03-10T01:02:03Z","client":"a","kid":"1","status":200}`, want{what: "bad"}},
		{"no status", exposure.JSON, `{"time":"2026-03-10T01:02:03Z","client":"a","uri":"/k"}`, want{what: "bad"}},

		{"asked for", exposure.Audit, strings.Replace(sampleAudit, "use export", "broken player", 1), want{what: "other"}},
		{"other use", exposure.Audit, strings.NewReplacer("key.export", "key.unwrap", "use export", "use verify").Replace(sampleAudit), want{what: "other"}},
		{"went wrong", exposure.Audit, strings.Replace(sampleAudit, `"allowed"`, `"failed"`, 1), want{what: "other"}},
		{"handed over", exposure.Audit, strings.NewReplacer("key.export", "key.unwrap", "use export", "use deliver").Replace(sampleAudit), want{"2026-03-10T20:55:44Z", "alice", "", "", "fetch"}},
		{"no kid", exposure.Audit, strings.Replace(sampleAudit, kidText, "7", 1), want{what: "bad"}},
	} {
		t.Run(string(c.format)+"/"+c.name, func(t *testing.T) {
			got, r, err := readAll(c.text, exposure.Options{Format: c.format})
			what := map[bool]string{r.Fetches == 1: "fetch", r.NotModified == 1: "same", r.Refused == 1: "refused", r.Other == 1: "other", r.Bad == 1: "bad"}[true]
			if r.Lines != 1 || what != c.want.what || (err != nil) != (what == "bad") {
				t.Fatalf("%s, want %s; %+v, %v", what, c.want.what, r, err)
			}
			if c.want.client == "" {
				if len(got) != 0 {
					t.Fatalf("yielded %+v", got)
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("yielded %+v", got)
			}
			f := got[0]
			if !f.Time.Equal(at(t, c.want.time)) || f.Client != c.want.client || f.URI != c.want.uri || f.Agent != c.want.agent {
				t.Errorf("got %+v, want %+v", f, c.want)
			}
		})
	}
}
