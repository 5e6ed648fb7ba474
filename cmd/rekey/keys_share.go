package main

import (
	"bytes"
	"crypto/ecdh"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/keyring/backup"
)

// shareFlags say where shares come from: holders' private keys that are here, or
// shares that holders sealed to the machine that restores.
type shareFlags struct {
	holderKeys, shares []string
	shareKey           string
}

func (s *shareFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&s.holderKeys, "holder-key", nil, "file (PEM, 0600) of a holder's private key (repeat)")
	c.Flags().StringArrayVar(&s.shares, "share", nil, "file of a share that rekey keys share sealed to --share-key, or to the --server (repeat)")
	c.Flags().StringVar(&s.shareKey, "share-key", "", "file (PEM, 0600) of this machine's private key that shares are sealed to, where no --server restores")
}

// open opens the shares of the holders' keys.
func (s *shareFlags) open(h *backup.Header) ([]backup.Share, error) {
	var out []backup.Share
	for _, file := range s.holderKeys {
		k, err := backup.ReadPrivateKey(file)
		if err != nil {
			return nil, usagef("--holder-key: %v", err)
		}
		share, err := openShare(h, k)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, share)
	}
	return out, nil
}

// openSealed opens the shares that were sealed to this machine.
func (s *shareFlags) openSealed(h *backup.Header) ([]backup.Share, error) {
	switch {
	case len(s.shares) == 0 && s.shareKey == "":
		return nil, nil
	case len(s.shares) == 0 || s.shareKey == "":
		return nil, usagef("without --server --share and --share-key go together")
	}
	k, err := backup.ReadPrivateKey(s.shareKey)
	if err != nil {
		return nil, usagef("--share-key: %v", err)
	}
	var out []backup.Share
	for _, file := range s.shares {
		text, err := readShare(file)
		if err != nil {
			return nil, err
		}
		sealed, err := backup.ParseSealedShare([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		share, err := h.OpenShare(sealed, k)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, share)
	}
	return out, nil
}

const maxShareFile = 64 << 10 // bytes

// readShare is the text of a sealed share.
func readShare(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", usagef("--share: %v", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxShareFile))
	if err != nil {
		return "", usagef("--share: %v", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// openShare finds the share that is sealed to a key.
func openShare(h *backup.Header, k *ecdh.PrivateKey) (backup.Share, error) {
	print := backup.Fingerprint(k.PublicKey())
	for _, s := range h.Shares {
		if s.Recipient == print {
			return h.OpenShare(s, k)
		}
	}
	return backup.Share{}, fmt.Errorf("%w: no share of this backup is", backup.ErrHolder)
}

func (a *app) keysShareCommand() *cobra.Command {
	var holderKey, to, print string
	c := &cobra.Command{
		Use: "share BACKUP", Short: "Seal a holder's share to the machine that restores", Args: cobra.MaximumNArgs(1),
		Long: "Opens the share that is sealed to a holder, on the holder's machine, and seals it to\nthe public key (--to) of the machine that restores: a server's is printed by rekey\nkeys restore --show-key. The sealed share is printed. --fingerprint prints that of a public key, to\ncompare with what is asked for.",
		RunE: func(_ *cobra.Command, args []string) error {
			if print != "" {
				return a.printFingerprint(print)
			}
			if len(args) != 1 {
				return usagef("keys share needs a backup")
			}
			body, err := os.ReadFile(args[0])
			if err != nil {
				return usagef("read backup: %v", err)
			}
			h, err := backup.ReadHeader(bytes.NewReader(body))
			if err != nil {
				return err
			}
			k, err := backup.ReadPrivateKey(holderKey)
			if err != nil {
				return usagef("--holder-key: %v", err)
			}
			pub, err := backup.ReadPublicKey(to)
			if err != nil {
				return usagef("--to: %v", err)
			}
			share, err := openShare(h, k)
			if err != nil {
				return err
			}
			text, err := sealTo(share, pub)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.stdout, text)
			return err
		},
	}
	c.Flags().StringVar(&holderKey, "holder-key", "", "file (PEM, 0600) of the holder's private key")
	c.Flags().StringVar(&to, "to", "", "file of the public key (PEM) to seal to")
	c.Flags().StringVar(&print, "fingerprint", "", "print the fingerprint of this file's public key (PEM), and no share")
	return c
}

func (a *app) printFingerprint(file string) error {
	k, err := backup.ReadPublicKey(file)
	if err != nil {
		return usagef("--fingerprint: %v", err)
	}
	if a.flags.json {
		return a.printJSON(map[string]string{"fingerprint": backup.Fingerprint(k)})
	}
	_, err = fmt.Fprintln(a.stdout, backup.Fingerprint(k))
	return err
}

func sealTo(s backup.Share, to *ecdh.PublicKey) (string, error) {
	sealed, err := s.SealTo(to)
	if err != nil {
		return "", err
	}
	text, err := sealed.MarshalText()
	return strings.TrimSpace(string(text)), err
}
