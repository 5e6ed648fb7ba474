package main

import (
	"context"
	"crypto/ecdh"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/keyring/backup"
)

// newBackup is what the server is asked for.
type newBackup struct {
	Threshold int         `json:"threshold"`
	Holders   []holderKey `json:"holders"`
	Comment   string      `json:"comment,omitempty"`
	Skip      bool        `json:"skip_unreadable,omitempty"`
}

type holderKey struct {
	Name string `json:"name"`
	Key  string `json:"key"` // in PEM
}

// remoteMade is what it answers.
type remoteMade struct {
	Backup    string   `json:"backup"`
	Entries   int64    `json:"entries"`
	Skipped   []string `json:"skipped"`
	File      []byte   `json:"file"`
	Enrolment string   `json:"enrolment"`
}

// remoteBackup has the server make the backup once another person has agreed to who
// can open it. Both files are made first: no approval is used up for a backup that
// cannot be kept.
func (a *app) remoteBackup(ctx context.Context, c *client, o backupFlags) error {
	terms := o.Terms()
	w := wanted{access.KeysBackup, access.Subject{Object: terms, Digest: backup.TermsDigest(terms)}, o.reason}
	if ready, err := a.released(ctx, c, o.request, w); !ready {
		return err
	}
	in := newBackup{Threshold: o.Threshold, Comment: o.Comment, Skip: o.skip}
	for _, h := range o.Holders {
		text, err := publicPEM(h.Key)
		if err != nil {
			return err
		}
		in.Holders = append(in.Holders, holderKey{h.Name, text})
	}
	var got remoteMade
	err := writeWhole(o.enrol, func(factor io.Writer) error {
		return writeWhole(o.file, func(file io.Writer) error {
			if err := c.call(ctx, "POST", "/api/v1/backup", o.request, in, &got); err != nil {
				return err
			}
			_, err := file.Write(got.File)
			if err == nil {
				_, err = fmt.Fprintln(factor, got.Enrolment)
			}
			return err
		})
	})
	if err != nil {
		if got.Backup != "" {
			_ = os.Remove(o.file) // the other one could not be kept
		}
		return err
	}
	return a.printBackup(madeBackup{got.Backup, got.Entries, len(o.Holders), o.Threshold, got.Skipped}, o.enrol)
}

func publicPEM(k *ecdh.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return "", fmt.Errorf("encode holder's key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}
