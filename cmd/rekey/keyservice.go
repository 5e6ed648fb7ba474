//go:build !fipsonly

package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring/cpix"
	"github.com/seed-6133abe0/rekey/keyring/speke"
	"github.com/seed-6133abe0/rekey/rotation"
)

// client makes the SPEKE client that the config describes.
func (c *keyServiceConfig) client(ctx context.Context) (*speke.Client, error) {
	s := &speke.Client{Endpoint: c.Endpoint, Clock: time.Now, Timeout: time.Duration(c.Timeout)}
	var err error
	if s.Auth, err = c.auth(ctx); err != nil {
		return nil, err
	}
	if c.Certificate != "" {
		cert, err := readCertificate(c.Certificate)
		if err != nil {
			return nil, err
		}
		private, err := readDecrypter(c.PrivateKey)
		if err != nil {
			return nil, err
		}
		s.Certificates, s.Decrypters = []*x509.Certificate{cert}, []crypto.Decrypter{private}
	}
	if c.ProviderCertificate != "" {
		cert, err := readCertificate(c.ProviderCertificate)
		if err != nil {
			return nil, err
		}
		s.Provider = []*x509.Certificate{cert}
	}
	return s, nil
}

func (c *keyServiceConfig) auth(ctx context.Context) (speke.Auth, error) {
	switch {
	case c.TokenFile != "":
		token, err := readSecretFile(c.TokenFile)
		return speke.Bearer(token), err
	case c.BasicFile != "":
		both, err := readSecretFile(c.BasicFile)
		name, password, ok := strings.Cut(both, ":")
		if err == nil && !ok {
			err = usagef("read %s: want name:password", c.BasicFile)
		}
		return speke.Basic(name, password), err
	case c.SigV4Region != "":
		sdk, err := awsconfig.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, fmt.Errorf("find AWS credentials: %w", err)
		}
		return speke.SigV4(sdk.Credentials, c.SigV4Region, ""), nil
	default:
		return nil, nil
	}
}

// askService asks a SPEKE endpoint for new keys.
type askService struct {
	client  *speke.Client
	systems []string
}

// String is rotation.KeySource's: the host alone.
func (s askService) String() string { return s.client.Host() }

// NewKeys is rotation.KeySource's.
func (s askService) NewKeys(ctx context.Context, asset string, asks []rotation.KeyAsk) ([]rotation.NewKey, error) {
	a := speke.Ask{ContentID: asset}
	for _, k := range asks {
		a.Keys = append(a.Keys, speke.Key{KID: k.KID, Scheme: k.Scheme, TrackType: k.TrackType})
	}
	for _, u := range s.systems {
		id, err := parseUUID(u)
		if err != nil {
			return nil, err
		}
		wants := cpix.PSSH
		if uuid(id) == fairPlay {
			wants = cpix.HLSMedia // FairPlay has no PSSH data: its URI is what it needs
		}
		a.Systems = append(a.Systems, speke.System{ID: id, Wants: wants})
	}
	doc, err := s.client.Request(ctx, a)
	if err != nil {
		return nil, err
	}
	var out []rotation.NewKey
	for _, k := range doc.Keys {
		n := rotation.NewKey{KID: k.KID, Key: k.Key, DRM: drmOf(doc, k.KID)}
		if n.URI, err = fairPlayURI(doc, k.KID); err == nil {
			err = n.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", speke.ErrContract, err)
		}
		out = append(out, n)
	}
	return out, nil
}

const fairPlay = "94ce86fb-07ff-4f43-adb8-93d2fa968ca2"

// fairPlayURI is the skd: URI of the key tag that the document has for media
// playlists; "" where it says nothing of FairPlay.
func fairPlayURI(doc *cpix.Document, kid key.KID) (string, error) {
	for _, s := range doc.Systems {
		if s.KID != kid || uuid(s.SystemID) != fairPlay {
			continue
		}
		// A key tag stands before a segment.
		p, err := hls.Parse("HLSSignalingData", []byte("#EXTM3U\n#EXT-X-TARGETDURATION:1\n"+s.HLSMedia+"\n#EXTINF:1,\ns\n#EXT-X-ENDLIST\n"))
		if err != nil {
			return "", fmt.Errorf("FairPlay for KID %s: %w", kid, err)
		}
		for _, ref := range p.Refs {
			if ref.Key != nil && catalog.Scheme(ref.Key.URI) == "skd" {
				return ref.Key.URI, nil
			}
		}
		return "", fmt.Errorf("FairPlay for KID %s: no key tag with an skd: URI", kid)
	}
	return "", nil
}

// pushService hands new keys to a SPEKE endpoint, a document for each asset.
type pushService struct{ client *speke.Client }

// Receive is rotation.Receiver's: the service's answer acknowledges the keys.
func (s pushService) Receive(ctx context.Context, keys []rotation.Handed) error {
	for len(keys) > 0 {
		asset := keys[0].Asset
		n := slices.IndexFunc(keys, func(k rotation.Handed) bool { return k.Asset != asset })
		if n < 0 {
			n = len(keys)
		}
		d := &cpix.Document{ContentID: asset}
		for _, k := range keys[:n] {
			d.Keys = append(d.Keys, cpix.ContentKey{KID: k.KID, Key: k.Key, CommonEncryptionScheme: cencScheme(k.Scheme)})
		}
		if _, err := s.client.Push(ctx, d); err != nil {
			return fmt.Errorf("push keys of asset %s: %w", asset, err)
		}
		keys = keys[n:]
	}
	return nil
}

func parseUUID(s string) (id [16]byte, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(id) {
		return id, usagef("key_service: systems: %q is no UUID", s)
	}
	return [16]byte(b), nil
}

// attachService gives the engine the key service that is configured.
func (a *app) attachService(ctx context.Context, e *rotation.Engine) error {
	c := a.cfg.KeyService
	if c.Endpoint == "" {
		return nil
	}
	client, err := c.client(ctx)
	if err != nil {
		return err
	}
	if c.Mode == "push" {
		if e.Receiver != nil || e.HandoverNone {
			// One of the two would be left without keys, and nobody would know.
			return usagef("key_service: mode push is a hand-over: leave out handover")
		}
		e.Receiver = pushService{client}
		return nil
	}
	for _, s := range c.Systems {
		if _, err := parseUUID(s); err != nil {
			return err
		}
	}
	e.KeySource = askService{client: client, systems: c.Systems}
	return nil
}
