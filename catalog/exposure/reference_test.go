package exposure_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog/exposure"
	"github.com/seed-6133abe0/rekey/key"
)

func TestParseRef(t *testing.T) {
	for _, c := range []struct{ uri, host, path, query string }{
		{"/keys/1.key", "", "/keys/1.key", ""},
		{"keys/1.key", "", "/keys/1.key", ""},
		{"https://CDN.example/keys/1.key", "cdn.example", "/keys/1.key", ""},
		{"https://cdn.example:443/k", "cdn.example", "/k", ""},
		{"http://cdn.example:80/k", "cdn.example", "/k", ""},
		{"http://cdn.example:8080/k", "cdn.example:8080", "/k", ""},
		{"http://[2001:DB8::1]:80/k", "[2001:db8::1]", "/k", ""},
		{"http://[2001:db8::80]/k", "[2001:db8::80]", "/k", ""},
		{"https://user:pw@cdn.example/k", "cdn.example", "/k", ""},
		{"//cdn.example/k", "cdn.example", "/k", ""},
		{"https://cdn.example", "cdn.example", "/", ""},
		{"skd://key-7", "key-7", "/", ""},
		{"s3://media/keys/a%20b", "media", "/keys/a%20b", ""},
		{"/k#part", "", "/k", ""},
		{"/a/./b/../k", "", "/a/k", ""},
		{"/a//k", "", "/a/k", ""},
		{"/a/..", "", "/", ""},
		{"/../../k", "", "/k", ""},
		{"/a/%2e%2E/k", "", "/k", ""},
		{"/a/", "", "/a/", ""},
		{"/%6b%65y", "", "/key", ""},
		{"/a b\"c", "", "/a%20b%22c", ""},
		{"/a%20b%22c", "", "/a%20b%22c", ""},
		{"/caf%c3%a9", "", "/caf%C3%A9", ""},
		{"/café", "", "/caf%C3%A9", ""},
		{"/a%2fb", "", "/a%2Fb", ""},
		{"/a%252fb", "", "/a%252fb", ""},
		{"/100%", "", "/100%25", ""},
		{"/a%zz", "", "/a%25zz", ""},
		{"/a\nb", "", "/a%0Ab", ""},
		{"/k?kid=7", "", "/k", "kid=7"},
		{"/k?b=2&&a=%31", "", "/k", "a=1&b=2"},
		// Signed URLs: CloudFront, S3 (both versions), Cloud CDN, Azure, Akamai.
		{"/k?Expires=1&Signature=a~b&Key-Pair-Id=K", "", "/k", ""},
		{"/k?Policy=e&Signature=a&Key-Pair-Id=K&v=2", "", "/k", "v=2"},
		{"/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F2026&X-Amz-Date=D&X-Amz-Expires=9&X-Amz-SignedHeaders=host&X-Amz-Signature=s", "", "/k", ""},
		{"/k?AWSAccessKeyId=A&Expires=1&Signature=s", "", "/k", ""},
		{"/k?X-Goog-Signature=a&KeyName=n", "", "/k", ""},
		{"/k?sv=1&sig=x", "", "/k", "sv=1"},
		{"/k?hdnts=exp=1~acl=/*~hmac=a", "", "/k", ""},
		{"/hdntl=exp=1~acl=%2f*~hmac=a/keys/1.key", "", "/keys/1.key", ""},
		{"/edge-cache-token=Expires=1~Signature=s/keys/1.key", "", "/keys/1.key", ""},
		{"/edge-cache-token=x", "", "/", ""},
	} {
		got, err := exposure.ParseRef(c.uri)
		if want := (exposure.Ref{Host: c.host, Path: c.path, Query: c.query}); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", c.uri, got, err, want)
		}
	}
	for _, uri := range []string{"", "data:;base64,AAECAwQFBgcICQoLDA0ODw==", "//", "https:///k", "/" + strings.Repeat("k", 1<<14)} {
		if r, err := exposure.ParseRef(uri); !errors.Is(err, exposure.ErrReference) || strings.Contains(err.Error(), "AAEC") {
			t.Errorf("%.40q: %+v, %v", uri, r, err)
		}
	}
}

func TestIndex(t *testing.T) {
	var x exposure.Index
	for uri, kids := range map[string][]key.KID{
		"https://cdn.example/keys/1.key":  {kid(1), kid(1)},
		"/keys/2.key":                     {kid(2)},
		"https://a.example/keys/3.key":    {kid(3)},
		"https://b.example/keys/3.key":    {kid(4)},
		"https://ks.example/get?kid=5":    {kid(5)},
		"https://ks.example/get?kid=6&x=": {kid(6)},
		"s3://media/keys/1.key":           {kid(1), kid(7)},
	} {
		if err := x.Add(uri, kids...); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		uri  string
		want []key.KID
	}{
		{"http://CDN.example:80/keys/1.key?token=t", []key.KID{kid(1)}},
		{"/keys/1.key", []key.KID{kid(1), kid(7)}},
		{"https://other.example/keys/1.key", nil},
		{"https://other.example/keys/2.key", []key.KID{kid(2)}},
		{"/keys/2%2Ekey", []key.KID{kid(2)}},
		{"https://a.example/keys/3.key", []key.KID{kid(3)}},
		{"/keys/3.key", []key.KID{kid(3), kid(4)}},
		{"https://ks.example/get?session=1&kid=5", []key.KID{kid(5)}},
		{"/get?x=&kid=6", []key.KID{kid(6)}},
		{"/get?kid=6", nil},
		{"/get?kid=55", nil},
		{"/get", nil},
		{"s3://media/keys/1.key", []key.KID{kid(1), kid(7)}},
		{"s3://backup/keys/1.key", nil},
	} {
		r, err := exposure.ParseRef(c.uri)
		if err != nil {
			t.Fatal(err)
		}
		got, err := x.KIDs(r)
		got = slices.Clone(got)
		slices.SortFunc(got, func(a, b key.KID) int { return int(a[0]) - int(b[0]) })
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.uri, got, err, c.want)
		}
	}
	if err := x.Add("", kid(1)); !errors.Is(err, exposure.ErrReference) {
		t.Errorf("empty URI: %v", err)
	}
}
