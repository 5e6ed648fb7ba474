package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/keyring/cpix"
)

// importFlags say how keys are taken.
type importFlags struct {
	weak       bool
	tags       []string
	decryptKey string
}

func (a *app) keysImportCommand() *cobra.Command {
	var o importFlags
	c := &cobra.Command{
		Use: "import FILE|-", Short: "Take keys: lines KID:KEY or KID:KEY URI, a JWK set, or CPIX", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.keysImport(cmd.Context(), args[0], o) },
	}
	f := c.Flags()
	f.BoolVar(&o.weak, "allow-weak", false, "take known-weak values, and values that stand under another KID, too, so that media under them can be rekeyed")
	f.StringSliceVar(&o.tags, "tag", nil, "tags of the keys, which pick their lifetime")
	f.StringVar(&o.decryptKey, "decrypt-key", "", "file (PEM, 0600) of the RSA private key that a CPIX document is encrypted to")
	return c
}

// imported is one key of an import, whatever its form.
type imported struct {
	keyring.Entry
	drm []keyring.DRM
}

func (a *app) keysImport(ctx context.Context, name string, o importFlags) error {
	in := a.stdin
	if _, err := keyring.ParseImport(strings.NewReader(name)); err == nil {
		return usagef("a key on the command line is in the history of the shell and in the list of processes: it has leaked; keys are read from a file, or from standard input (-)")
	}
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return usagef("open keys: %v", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	entries, err := readImport(name, in, o)
	if err != nil {
		return err
	}
	k, err := a.openKeys(ctx, nil)
	if err != nil {
		return err
	}
	created, refused, err := k.take(ctx, entries, o)
	if err != nil {
		return fmt.Errorf("%w; %d keys were taken before", err, created)
	}
	if a.flags.json {
		err = a.printJSON(map[string]int{"read": len(entries), "created": created, "refused": len(refused)})
	} else {
		_, err = fmt.Fprintf(a.stdout, "%d keys read, %d new\n", len(entries), created)
	}
	if len(refused) > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d keys were not taken: %w", len(refused), len(entries), errors.Join(refused...)))
	}
	return err
}

// take imports what it can. Keys that are weak, or another than what stands under
// their KID, hold back no others.
func (k *keyroom) take(ctx context.Context, entries []imported, o importFlags) (created int, refused []error, err error) {
	for _, e := range entries {
		isNew, err := k.ring.Import(ctx, e.KID, e.Key, keyring.ImportOptions{URI: e.URI, AllowWeak: o.weak, Tags: o.tags, DRM: e.drm})
		if errors.Is(err, keyring.ErrWeak) || errors.Is(err, keyring.ErrExists) || errors.Is(err, keyring.ErrCorrupt) {
			refused = append(refused, err)
			continue
		}
		if err != nil {
			return created, refused, err
		}
		if isNew {
			created++
		}
	}
	return created, refused, nil
}

// readImport tells the forms apart by the first character: '<' is CPIX.
func readImport(name string, in io.Reader, o importFlags) ([]imported, error) {
	br := bufio.NewReaderSize(in, 4<<10)
	head, err := br.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n"), []byte("<")) {
		return readCPIX(name, br, o)
	}
	if o.decryptKey != "" {
		return nil, usagef("--decrypt-key is for CPIX, and %s is none", name)
	}
	entries, err := keyring.ParseImport(br)
	if err != nil {
		return nil, err
	}
	out := make([]imported, len(entries))
	for i, e := range entries {
		out[i].Entry = e
	}
	return out, nil
}

func readCPIX(name string, in io.Reader, o importFlags) ([]imported, error) {
	var po cpix.ParseOptions
	if o.decryptKey != "" {
		d, err := readDecrypter(o.decryptKey)
		if err != nil {
			return nil, err
		}
		po.Decrypters = append(po.Decrypters, d)
	}
	body, err := io.ReadAll(io.LimitReader(in, cpix.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	defer clear(body)
	doc, err := cpix.Parse(name, body, po)
	if err != nil {
		return nil, err
	}
	if missing := doc.Missing(); len(missing) > 0 {
		return nil, fmt.Errorf("read keys: %w: %s: KID %s has no value", cpix.ErrMalformed, name, missing[0])
	}
	var out []imported
	seen := map[key.KID]bool{}
	for _, k := range doc.Keys {
		if !seen[k.KID] { // twice: the same key for another scheme
			seen[k.KID] = true
			out = append(out, imported{keyring.Entry{KID: k.KID, Key: k.Key}, drmOf(doc, k.KID)})
		}
	}
	return out, nil
}

// drmOf is what the document's DRM systems signal for a key in pssh boxes.
func drmOf(doc *cpix.Document, kid key.KID) []keyring.DRM {
	var out []keyring.DRM
	for _, s := range doc.Systems {
		if s.KID == kid && len(s.PSSH) > 0 {
			out = append(out, keyring.DRM{System: uuid(s.SystemID), PSSH: s.PSSH})
		}
	}
	return out
}

// uuid spells 16 bytes as RFC 9562 does.
func uuid(b [16]byte) string {
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// readDecrypter reads an RSA private key that only its owner may read.
func readDecrypter(name string) (crypto.Decrypter, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, usagef("read private key: %v", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, usagef("read private key: %s: mode %04o lets group or others in, want 0600", name, info.Mode().Perm())
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, usagef("read private key: %v", err)
	}
	defer clear(b)
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, usagef("read private key: %s is not PEM", name)
	}
	defer clear(block.Bytes)
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return k, nil
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, usagef("read private key: %s is no private key in PKCS #1 or PKCS #8", name)
	}
	d, ok := k.(crypto.Decrypter)
	if !ok {
		return nil, usagef("read private key: %s is no RSA key", name)
	}
	return d, nil
}

// readCertificate reads a certificate in PEM.
func readCertificate(name string) (*x509.Certificate, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, usagef("read certificate: %v", err)
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, usagef("read certificate: %s is no certificate in PEM", name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, usagef("read certificate: %s: %v", name, err)
	}
	return cert, nil
}
