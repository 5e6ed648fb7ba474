package gcp

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/kms"
)

func TestParseKEK(t *testing.T) {
	const ok = "gcp-kms:projects/p-1/locations/global/keyRings/R_r/cryptoKeys/k-9/cryptoKeyVersions/12"
	v, err := parseKEK(ok)
	if err != nil || v.kek() != ok || v.cryptoKey() != "projects/p-1/locations/global/keyRings/R_r/cryptoKeys/k-9" || v.number != "12" {
		t.Errorf("parseKEK: %+v, %v", v, err)
	}
	if _, err := parseKEK(strings.Replace(ok, "p-1", "example.com:media", 1)); err != nil {
		t.Errorf("a project of a domain: %v", err)
	}
	for _, bad := range []string{
		"", "gcp-kms:", "gcp-kms", strings.TrimPrefix(ok, "gcp-kms:"), "aws-kms:" + ok, "gcp-kms:" + ok,
		strings.TrimSuffix(ok, "/cryptoKeyVersions/12"), strings.TrimSuffix(ok, "12"), strings.TrimSuffix(ok, "12") + "0",
		strings.TrimSuffix(ok, "12") + "012", ok + "-none", ok + "\n", ok + "/", ok + " ", "GCP-KMS" + strings.TrimPrefix(ok, "gcp-kms"),
		strings.Replace(ok, "k-9", "..", 1), strings.Replace(ok, "k-9", "a/b", 1), strings.Replace(ok, "k-9", "", 1),
		strings.Replace(ok, "k-9", strings.Repeat("k", 64), 1), strings.Replace(ok, "p-1", "p 1", 1), strings.Replace(ok, "p-1", "ä", 1),
		strings.Replace(ok, "global", "../x", 1), ok + strings.Repeat("1", 9), strings.ToUpper(ok),
	} {
		if v, err := parseKEK(bad); !errors.Is(err, kms.ErrNotFound) {
			t.Errorf("parseKEK(%q): %+v, %v; want ErrNotFound", bad, v, err)
		} else if strings.Contains(err.Error(), "\n") || len(err.Error()) > 600 {
			t.Errorf("parseKEK(%q): %v: not one short line", bad, err)
		}
	}
}

// FuzzParseKEK: what is read is written the same, and fits everything that ids go
// into.
func FuzzParseKEK(f *testing.F) {
	for _, seed := range []string{
		"gcp-kms:projects/rekey-prod/locations/europe-west4/keyRings/media/cryptoKeys/movies-2026/cryptoKeyVersions/1",
		"gcp-kms:projects/example.com:media/locations/global/keyRings/R_1/cryptoKeys/K/cryptoKeyVersions/4294967295",
		"gcp-kms:projects/123456789012/locations/us/keyRings/r/cryptoKeys/k/cryptoKeyVersions/10",
		"projects/p/locations/l/keyRings/r/cryptoKeys/k",
		"vault:transit/movies",
		"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, kek string) {
		v, err := parseKEK(kek)
		if err != nil {
			if !errors.Is(err, kms.ErrNotFound) || v != (version{}) {
				t.Errorf("%q: %+v, %v", kek, v, err)
			}
			return
		}
		if v.kek() != kek || kms.Scheme(kek) != Scheme || !ringName.MatchString(v.ring) || strings.Count(kek, "/") != 9 {
			t.Errorf("%q is read as %+v", kek, v)
		}
		if strings.ContainsFunc(kek, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q is not printable ASCII without spaces", kek)
		}
	})
}
