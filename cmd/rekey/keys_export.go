package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/keyring/cpix"
	"github.com/seed-6133abe0/rekey/keyring/packager"
)

// exportFlags say how keys leave.
type exportFlags struct {
	reveal                   bool
	reason, format, out, uri string
	recipient                string
	request                  string
}

func (a *app) keysExportCommand() *cobra.Command {
	var o exportFlags
	c := &cobra.Command{
		Use: "export KID...", Short: "Print keys as KID:KEY, or write them for a packager", Args: cobra.MinimumNArgs(1),
		Long: "Shows keys in the clear. With --for they go into a file of mode 0600 that a\npackager reads: shaka (--flagfile), ffmpeg (-hls_key_info_file; one key, with\n--uri), bento4 (arguments for mp4decrypt) or cpix (to a certificate, or in the\nclear). Where roles are in force a second person has to agree: see rekey serve.",
		RunE: func(cmd *cobra.Command, args []string) error {
			kids, err := parseKIDs(args)
			if err != nil {
				return err
			}
			if err := o.check(len(kids)); err != nil {
				return err
			}
			return a.keysExport(cmd.Context(), kids, o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.reveal, "reveal", false, "yes, show the keys in the clear")
	f.StringVar(&o.reason, "reason", "", "why, for the audit record")
	f.StringVar(&o.format, "for", "", "shaka, ffmpeg, bento4 or cpix (default: lines KID:KEY on standard output)")
	f.StringVar(&o.out, "out", "", "with --for: the file to write; it must not be there")
	f.StringVar(&o.uri, "uri", "", "with --for ffmpeg: what the playlist says in EXT-X-KEY (default: the key's URI)")
	f.StringVar(&o.recipient, "recipient", "", "with --for cpix: certificate (PEM) that the keys are encrypted to")
	f.StringVar(&o.request, "request", "", "the approved request that this carries out")
	return c
}

func parseKIDs(args []string) ([]key.KID, error) {
	var kids []key.KID
	for _, s := range args {
		kid, err := key.ParseKID(s)
		if err != nil {
			return nil, usagef("%v", err)
		}
		kids = append(kids, kid)
	}
	return kids, nil
}

func (o exportFlags) check(n int) error {
	switch {
	case !o.reveal || strings.TrimSpace(o.reason) == "":
		return usagef("export shows a key in the clear: it needs --reveal and --reason")
	case o.format == "" && (o.out != "" || o.uri != "" || o.recipient != ""):
		return usagef("--out, --uri and --recipient go with --for")
	case o.format == "":
		return nil
	case o.format != "shaka" && o.format != "ffmpeg" && o.format != "bento4" && o.format != "cpix":
		return usagef("--for %q is not shaka, ffmpeg, bento4 or cpix", o.format)
	case o.out == "":
		return usagef("--for needs --out")
	case o.format == "ffmpeg" && n != 1:
		return usagef("--for ffmpeg takes one key")
	}
	return nil
}

// exported is one key on its way out.
type exported struct {
	kid    key.KID
	key    key.ContentKey
	scheme string
	uri    string
}

func (a *app) keysExport(ctx context.Context, kids []key.KID, o exportFlags) error {
	c, err := a.remote()
	if err != nil {
		return err
	}
	if c != nil {
		return a.remoteExport(ctx, c, kids, o)
	}
	k, err := a.openKeys(ctx, nil)
	if err != nil {
		return err
	}
	if err := k.mayAlone(ctx, "keys export"); err != nil {
		return err
	}
	var keys []exported
	for _, kid := range kids {
		e, err := k.export(ctx, kid, o.reason)
		if err != nil {
			return err
		}
		keys = append(keys, e)
	}
	return a.writeKeys(keys, o)
}

// remoteExport takes one key through the server: each key is a request of its
// own.
func (a *app) remoteExport(ctx context.Context, c *client, kids []key.KID, o exportFlags) error {
	if len(kids) != 1 {
		return usagef("through a server keys are exported one by one")
	}
	w := wanted{access.KeysExport, access.Subject{KID: kids[0]}, o.reason}
	if ready, err := a.released(ctx, c, o.request, w); !ready {
		return err
	}
	var got struct {
		KID    key.KID `json:"kid"`
		Key    string  `json:"key"`
		URI    string  `json:"uri"`
		Scheme string  `json:"scheme"`
	}
	if err := c.call(ctx, "POST", "/api/v1/keys/"+kids[0].String()+"/export", o.request, nil, &got); err != nil {
		return err
	}
	ck, err := key.ParseContentKey(got.Key)
	if err != nil {
		return fmt.Errorf("read server's answer: %w", err)
	}
	return a.writeKeys([]exported{{got.KID, ck, got.Scheme, got.URI}}, o)
}

// export opens one key for a person, and puts the reason on record.
func (k *keyroom) export(ctx context.Context, kid key.KID, reason string) (exported, error) {
	if err := k.audit.Append(ctx, audit.Record{Action: audit.KeyExport, KID: kid.String(), Outcome: "requested", Reason: reason}); err != nil {
		return exported{}, err
	}
	rec, err := k.ring.Get(ctx, kid)
	if err != nil {
		return exported{}, err
	}
	c, err := k.ring.Unwrap(ctx, kid, keyring.Export, "")
	return exported{kid, c, rec.Scheme, rec.URI}, err
}

func (a *app) writeKeys(keys []exported, o exportFlags) error {
	switch o.format {
	case "shaka":
		return packager.WriteShaka(o.out, packager.Shaka{Keys: packaged(keys), Decrypt: true})
	case "bento4":
		return packager.WriteBento4(o.out, packaged(keys))
	case "ffmpeg":
		uri := first(o.uri, keys[0].uri)
		if uri == "" {
			return usagef("key %s has no URI: --uri", keys[0].kid)
		}
		f := packager.FFmpeg{KeyURI: uri, Key: keys[0].key}
		_, _ = rand.Read(f.IV[:]) // never fails: it crashes the program instead
		return packager.WriteFFmpeg(o.out, f)
	case "cpix":
		return writeCPIX(keys, o)
	}
	for _, k := range keys {
		raw := k.key.RevealSecretBytes()
		_, err := io.WriteString(a.stdout, k.kid.String()+":"+hex.EncodeToString(raw[:])+"\n")
		clear(raw[:])
		if err != nil {
			return err
		}
	}
	return nil
}

func packaged(keys []exported) []packager.Key {
	var out []packager.Key
	for i, k := range keys {
		label := ""
		if len(keys) > 1 { // Shaka Packager wants one for each
			label = fmt.Sprintf("KEY%d", i)
		}
		out = append(out, packager.Key{KID: k.kid, Key: k.key, Label: label})
	}
	return out
}

func writeCPIX(keys []exported, o exportFlags) error {
	var eo cpix.EmitOptions
	if o.recipient != "" {
		cert, err := readCertificate(o.recipient)
		if err != nil {
			return err
		}
		eo.Recipients = append(eo.Recipients, cert)
	}
	var d cpix.Document
	for _, k := range keys {
		d.Keys = append(d.Keys, cpix.ContentKey{KID: k.kid, Key: k.key, CommonEncryptionScheme: cencScheme(k.scheme)})
	}
	b, err := cpix.Emit(d, eo)
	if err != nil {
		return err
	}
	defer clear(b)
	return writeNew(o.out, b)
}

// cencScheme is the scheme if CPIX has a word for it.
func cencScheme(s string) string {
	if slices.Contains([]string{"cenc", "cens", "cbc1", "cbcs"}, s) {
		return s
	}
	return ""
}

// writeNew writes a file of mode 0600 that must not be there.
func writeNew(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = io.Copy(f, bytes.NewReader(b))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(name)
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
