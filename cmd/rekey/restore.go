package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/keyring/backup"
	"github.com/seed-6133abe0/rekey/keyring/backup/restore"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// restoreFlags say how a backup is put back.
type restoreFlags struct {
	shareFlags
	check, showKey  bool
	show, replace   bool
	reason, request string
}

func (a *app) keysRestoreCommand() *cobra.Command {
	var o restoreFlags
	c := &cobra.Command{
		Use: "restore BACKUP", Short: "Put keys back from a backup", Args: cobra.MaximumNArgs(1),
		Long: "Needs as many shares as the backup says, by --holder-key or --share, and the code of\nthe second factor on standard input. Keys that stand already stay as they are, and\nevents that the audit log has of a key count: no key comes back in an older state.\n--check proves the backup on a scratch store and leaves the live one alone. Where\nroles are in force a second person has to agree: see rekey serve.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.showKey {
				return a.showRestoreKey(cmd.Context())
			}
			if len(args) != 1 || strings.TrimSpace(o.reason) == "" && !o.show {
				return usagef("keys restore needs a backup and --reason")
			}
			body, err := os.ReadFile(args[0])
			if err != nil {
				return usagef("read backup: %v", err)
			}
			if o.show {
				return a.showBackup(body)
			}
			return a.keysRestore(cmd.Context(), body, o)
		},
	}
	o.add(c)
	f := c.Flags()
	f.BoolVar(&o.check, "check", false, "prove the backup on a scratch store; the live one is not touched")
	f.BoolVar(&o.showKey, "show-key", false, "print the public key of the --server that shares are sealed to")
	f.BoolVar(&o.show, "show", false, "print the backup's fingerprint and who can open it, and open nothing")
	f.BoolVar(&o.replace, "replace-corrupt", false, "also put keys back over records that do not read; what stood there is kept under corrupt/")
	f.StringVar(&o.reason, "reason", "", "why, for the audit record")
	f.StringVar(&o.request, "request", "", "the approved request that this carries out")
	return c
}

func (a *app) keysRestore(ctx context.Context, body []byte, o restoreFlags) error {
	h, err := backup.ReadHeader(bytes.NewReader(body))
	if err != nil {
		return err
	}
	c, err := a.remote()
	if err != nil {
		return err
	}
	if c != nil && !o.check {
		return a.remoteRestore(ctx, c, h, body, o)
	}
	k, err := a.openKeys(ctx, nil)
	if err != nil {
		return err
	}
	if !o.check {
		if err := k.mayAlone(ctx, "keys restore"); err != nil {
			return err
		}
	}
	e := audit.Record{Action: audit.KeyRestore, Object: h.Fingerprint(), Outcome: audit.Allowed, Reason: o.reason}
	if o.check {
		e.Reason = "check on a scratch store: " + o.reason
	}
	if err := k.audit.Append(ctx, e); err != nil {
		return err
	}
	out, err := a.localRestore(ctx, k, h, body, o)
	if err != nil {
		e.Outcome, e.Reason = audit.Failed, err.Error()
		return joinRecord(err, k.audit.Append(ctx, e))
	}
	if err := out.partial(); err != nil {
		e.Outcome, e.Reason = audit.Failed, err.Error()
		if err := k.audit.Append(ctx, e); err != nil {
			return err
		}
	}
	return a.printRestored(out, o.check)
}

// localRestore opens the backup here and puts it back, or into a scratch store.
func (a *app) localRestore(ctx context.Context, k *keyroom, h *backup.Header, body []byte, o restoreFlags) (restored, error) {
	u, m, err := a.unlock(ctx, k, h, o)
	if err != nil {
		return restored{}, err
	}
	defer m.Close()
	if o.check {
		return checkBackup(ctx, u, h, body, o.reason)
	}
	done, err := restore.All(ctx, k.ring, u, body, restore.Options{
		Reason: o.reason, ReplaceCorrupt: o.replace, Control: k.control, Record: k.audit.Append,
	})
	return countsOf(done, h), err
}

// unlock puts the master together and takes the code. Codes are not counted here,
// since whoever has the shares and the file here needs none (see package backup);
// each wrong one is on record. The caller closes the master.
func (a *app) unlock(ctx context.Context, k *keyroom, h *backup.Header, o restoreFlags) (*backup.Unlocked, *backup.Master, error) {
	shares, err := o.open(h)
	if err != nil {
		return nil, nil, err
	}
	sealed, err := o.openSealed(h)
	if err != nil {
		return nil, nil, err
	}
	m, err := h.Combine(append(shares, sealed...))
	if err != nil {
		return nil, nil, err
	}
	code, err := a.readCode()
	if err != nil {
		m.Close()
		return nil, nil, err
	}
	u, err := m.Unlock(code, time.Now(), restore.UseCode(ctx, k.control, h.Fingerprint()))
	if err != nil {
		m.Close()
		return nil, nil, err
	}
	return u, m, nil
}

// checkBackup restores a backup into a scratch store and opens every key of that.
func checkBackup(ctx context.Context, u *backup.Unlocked, h *backup.Header, body []byte, reason string) (restored, error) {
	ring, end, err := scratchRing(ctx)
	if err != nil {
		return restored{}, err
	}
	defer end()
	done, err := restore.All(ctx, ring, u, body, restore.Options{Reason: reason})
	if err == nil && len(done.Failed) > 0 {
		err = fmt.Errorf("%w: key %s: %s", backup.ErrDamaged, done.Failed[0].KID, done.Failed[0].Reason)
	}
	if err == nil {
		err = compareAll(ctx, ring, u.Entries(bytes.NewReader(body)))
	}
	return countsOf(done, h), err
}

// scratchRing is an empty ring in a folder that goes when end is called. Its KEK
// lies there under a passphrase that only this process knows: where the process
// dies before end, what is left opens for nobody.
func scratchRing(ctx context.Context) (*keyring.Ring, func(), error) {
	dir, err := os.MkdirTemp("", "rekey-restore-check-")
	if err != nil {
		return nil, nil, fmt.Errorf("make scratch store: %w", err)
	}
	end := func() { _ = os.RemoveAll(dir) }
	s, err := store.OpenDir(dir)
	if err != nil {
		end()
		return nil, nil, fmt.Errorf("make scratch store: %w", err)
	}
	secret := rand.Text()
	local := kms.NewLocal(kms.LocalOptions{
		Path:       filepath.Join(dir, ".kek", "master.key"),
		Passphrase: func(string, bool) ([]byte, error) { return []byte(secret), nil },
	})
	kek, err := local.Primary(ctx)
	if err != nil {
		end()
		return nil, nil, fmt.Errorf("make scratch store: %w", err)
	}
	set := kms.Set{kms.LocalScheme: local}
	log := audit.New(s, time.Now, "restore check")
	return keyring.New(keyring.Options{Store: s, KMS: set, KEK: kek, Log: log, Clock: time.Now}), end, nil
}

// compareAll opens every key of a ring as a backup of it would, and compares it
// with what was restored: all is there, in its state, and nothing else.
func compareAll(ctx context.Context, ring *keyring.Ring, want iter.Seq2[backup.Entry, error]) error {
	next, stop := iter.Pull2(ring.Copies(ctx, "restore check"))
	defer stop()
	for e, err := range want {
		if err != nil {
			return err
		}
		c, err, ok := next()
		switch {
		case err != nil:
			return err
		case !ok || c.KID != e.KID || !c.Key.Equal(e.Key) || !sameState(c.Record, e.Record):
			return fmt.Errorf("%w: key %s is not restored as it is in the backup", backup.ErrDamaged, e.KID)
		}
	}
	if c, err, ok := next(); ok {
		return errors.Join(err, fmt.Errorf("%w: key %s is not in the backup", backup.ErrDamaged, c.KID))
	}
	return nil
}

// sameState compares the states that two records are in.
func sameState(a, b json.RawMessage) bool {
	var x, y struct {
		State keyring.State `json:"state"`
	}
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && x == y
}

// remoteRestore opens shares here and seals them to the server, which puts the
// backup back once another person has agreed.
func (a *app) remoteRestore(ctx context.Context, c *client, h *backup.Header, body []byte, o restoreFlags) error {
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	w := wanted{access.KeysRestore, access.Subject{Digest: digest, Object: restore.Name(h.Fingerprint(), o.replace)}, o.reason}
	if ready, err := a.released(ctx, c, o.request, w); !ready {
		return err
	}
	pem, err := restoreKey(ctx, c)
	if err != nil {
		return err
	}
	to, err := backup.ParsePublicKey([]byte(pem))
	if err != nil {
		return fmt.Errorf("read server's restore key: %w", err)
	}
	in := struct {
		Backup []byte   `json:"backup"`
		Shares []string `json:"shares"`
		Code   string   `json:"code"`
	}{Backup: body}
	shares, err := o.open(h)
	if err != nil {
		return err
	}
	for _, s := range shares {
		text, err := sealTo(s, to)
		if err != nil {
			return err
		}
		in.Shares = append(in.Shares, text)
	}
	for _, file := range o.shares {
		text, err := readShare(file)
		if err != nil {
			return err
		}
		in.Shares = append(in.Shares, text)
	}
	if in.Code, err = a.readCode(); err != nil {
		return err
	}
	var out restored
	path := "/api/v1/restore?digest=" + digest + "&backup=" + h.Fingerprint()
	if o.replace {
		path += "&replace=corrupt"
	}
	if err := c.call(ctx, "POST", path, o.request, in, &out); err != nil {
		return err
	}
	return a.printRestored(out, false)
}

// shownBackup is the --json shape of what a backup tells everybody.
type shownBackup struct {
	Backup  string             `json:"backup"` // the fingerprint
	SHA256  string             `json:"sha256"` // of the file
	Created time.Time          `json:"created"`
	Source  string             `json:"source,omitempty"`
	Comment string             `json:"comment,omitempty"`
	Needs   int                `json:"needs"`
	Holders []backup.Custodian `json:"holders"`
}

// showBackup prints what an approver compares with the request of a restore.
func (a *app) showBackup(body []byte) error {
	h, err := backup.ReadHeader(bytes.NewReader(body))
	if err != nil {
		return err
	}
	sum, m := sha256.Sum256(body), h.Manifest
	s := shownBackup{h.Fingerprint(), hex.EncodeToString(sum[:]), m.Created, m.Source, m.Comment, m.Threshold, m.Holders}
	if a.flags.json {
		return a.printJSON(s)
	}
	_, err = fmt.Fprintf(a.stdout, "backup %s\nsha256 %s\nmade %s, as the file says; %d of %d shares restore it\n",
		s.Backup, s.SHA256, s.Created.Format(time.RFC3339), s.Needs, len(s.Holders))
	for _, c := range s.Holders {
		if err == nil {
			_, err = fmt.Fprintf(a.stdout, "holder %q %s\n", c.Name, c.Key)
		}
	}
	return err
}

func restoreKey(ctx context.Context, c *client) (string, error) {
	var got struct {
		Key string `json:"key"`
	}
	err := c.call(ctx, "GET", "/api/v1/restore/key", "", nil, &got)
	return got.Key, err
}

func (a *app) showRestoreKey(ctx context.Context) error {
	c, err := a.need("keys restore --show-key")
	if err != nil {
		return err
	}
	pem, err := restoreKey(ctx, c)
	if err == nil {
		_, err = fmt.Fprint(a.stdout, pem)
	}
	return err
}
