//go:build !fipsonly

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/keyring/cpix"
)

func TestFairPlayURI(t *testing.T) {
	id, err := parseUUID(fairPlay)
	if err != nil {
		t.Fatal(err)
	}
	kid := key.NewKID()
	tag := `#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://a/1?b=c",KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"`
	for name, c := range map[string]struct {
		text, uri, reason string
	}{
		"a tag":            {tag, "skd://a/1?b=c", ""},
		"lines around it":  {"\n" + tag + "\n", "skd://a/1?b=c", ""},
		"no tag":           {"skd://a/1", "", "malformed"},
		"no URI":           {"#EXT-X-KEY:METHOD=NONE", "", "no key tag"},
		"another system's": {strings.Replace(tag, "skd:", "https:", 1), "", "no key tag"},
		"no end":           {tag[:40], "", "FairPlay for KID"},
	} {
		doc := &cpix.Document{Systems: []cpix.DRMSystem{{SystemID: id, KID: kid, HLSMedia: c.text}}}
		uri, err := fairPlayURI(doc, kid)
		if uri != c.uri || (err == nil) != (c.reason == "") || err != nil && !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %q, %v", name, uri, err)
		}
		if uri, err := fairPlayURI(doc, key.NewKID()); uri != "" || err != nil {
			t.Errorf("%s: of another key: %q, %v", name, uri, err)
		}
	}
}

func TestKeyServiceConfig(t *testing.T) {
	good := keyServiceConfig{Endpoint: "https://speke.example/v2", Mode: "ask", Systems: []string{fairPlay}}
	for name, c := range map[string]struct {
		edit   func(*keyServiceConfig)
		reason string
	}{
		"good":         {func(*keyServiceConfig) {}, ""},
		"none":         {func(c *keyServiceConfig) { *c = keyServiceConfig{} }, ""},
		"timeout":      {func(c *keyServiceConfig) { c.Timeout = keyring.Age(time.Second) }, ""},
		"negative":     {func(c *keyServiceConfig) { c.Timeout = -1 }, "timeout"},
		"timeout only": {func(c *keyServiceConfig) { *c = keyServiceConfig{Timeout: 1} }, "no endpoint"},
		"mode":         {func(c *keyServiceConfig) { c.Mode = "take" }, "ask or push"},
		"no systems":   {func(c *keyServiceConfig) { c.Systems = nil }, "systems"},
		"two logins":   {func(c *keyServiceConfig) { c.TokenFile, c.BasicFile = "a", "b" }, "one of"},
		"half a pair":  {func(c *keyServiceConfig) { c.PrivateKey = "a" }, "go together"},
		"certificate only": {func(c *keyServiceConfig) {
			*c = keyServiceConfig{Certificate: "a", PrivateKey: "b"}
		}, "no endpoint"},
	} {
		k := good
		c.edit(&k)
		err := k.check()
		if (err == nil) != (c.reason == "") || err != nil && !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, want …%s…", name, err, c.reason)
		}
	}
}
