package aws

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/kms"
)

func TestParseKEK(t *testing.T) {
	const ok = "aws-kms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	k, err := parseKEK(ok)
	if err != nil || k.kek() != ok || k.region != "eu-central-1" {
		t.Errorf("parseKEK: %+v, %v", k, err)
	}
	for _, good := range []string{
		"aws-kms:arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
		"aws-kms:arn:aws-cn:kms:cn-northwest-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		"aws-kms:arn:aws-us-gov:kms:us-gov-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		"aws-kms:arn:aws-iso-b:kms:us-isob-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	} {
		if k, err := parseKEK(good); err != nil || k.kek() != good {
			t.Errorf("parseKEK(%q): %+v, %v", good, k, err)
		}
	}
	for _, bad := range []string{
		"", "aws-kms", "aws-kms:", strings.TrimPrefix(ok, "aws-kms:"), "gcp-kms:" + ok, "aws-kms:" + ok, strings.ToUpper(ok),
		"aws-kms:1234abcd-12ab-34cd-56ef-1234567890ab", "aws-kms:alias/rekey-movies",
		"aws-kms:arn:aws:kms:eu-central-1:111122223333:alias/rekey-movies",
		ok + "-none", ok + "\n", ok + "/", ok + " ", ok + "0", ok[:len(ok)-1], strings.Replace(ok, "1234abcd", "1234ABCD", 1),
		strings.Replace(ok, "kms:eu", "s3:eu", 1), strings.Replace(ok, "111122223333", "11112222333", 1), strings.Replace(ok, "111122223333", "", 1),
		strings.Replace(ok, "eu-central-1", "", 1), strings.Replace(ok, "eu-central-1", "eu-central-1.example.com", 1),
		strings.Replace(ok, "eu-central-1", "eu", 1), strings.Replace(ok, "eu-central-1", "..", 1), strings.Replace(ok, "eu-central-1", "eu-central-1/x", 1),
		strings.Replace(ok, "arn:aws:", "arn:aws.example:", 1), strings.Replace(ok, "key/", "key/../", 1), strings.Replace(ok, "key/", "key/mrk-", 1),
	} {
		if k, err := parseKEK(bad); !errors.Is(err, kms.ErrNotFound) {
			t.Errorf("parseKEK(%q): %+v, %v; want ErrNotFound", bad, k, err)
		} else if strings.Contains(err.Error(), "\n") || len(err.Error()) > 600 {
			t.Errorf("parseKEK(%q): %v: not one short line", bad, err)
		}
	}
}

// FuzzParseKEK: what is read is written the same, and fits everything that ids go
// into, host names too.
func FuzzParseKEK(f *testing.F) {
	for _, seed := range []string{
		"aws-kms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		"aws-kms:arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
		"aws-kms:arn:aws:kms:eu-central-1:111122223333:alias/rekey-movies",
		"arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		"vault:transit/movies",
		"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, kek string) {
		k, err := parseKEK(kek)
		if err != nil {
			if !errors.Is(err, kms.ErrNotFound) || k != (keyARN{}) {
				t.Errorf("%q: %+v, %v", kek, k, err)
			}
			return
		}
		if k.kek() != kek || kms.Scheme(kek) != Scheme || strings.Count(kek, "/") != 1 || strings.Count(kek, ":") != 6 {
			t.Errorf("%q is read as %+v", kek, k)
		}
		if strings.ContainsAny(k.region, "./:@") || !strings.Contains(k.arn, ":"+k.region+":") {
			t.Errorf("%q: region %q", kek, k.region)
		}
		if strings.ContainsFunc(kek, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q is not printable ASCII without spaces", kek)
		}
	})
}

// FuzzNameOf: a description is anybody's text; what is taken for a name is one.
func FuzzNameOf(f *testing.F) {
	for _, seed := range []string{"rekey KEK movies", "rekey KEK movies 2026", "rekey KEK ", "somebody's", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, description string) {
		name := nameOf(description)
		if name != "" && (kms.CheckName(name) != nil || descriptionPrefix+name != description) {
			t.Errorf("%q is read as %q", description, name)
		}
	})
}
