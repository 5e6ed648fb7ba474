package dashboard_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/dashboard"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/keyring/backup"
	"github.com/seed-6133abe0/rekey/rotation"
)

// settle makes everybody who asks, and the library with a rotation in it.
func (w *world) settle() {
	w.t.Helper()
	w.people["expired"] = w.join("eve", "operator,approver,auditor")
	w.later(access.DefaultLife + time.Hour)
	for _, r := range access.Roles() {
		w.people[r.String()] = w.join("p-"+r.String(), r.String())
	}
	w.people["revoked"] = w.join("rex", "operator,approver,auditor")
	w.revoke(w.people["revoked"])
	good := w.people["operator"].token
	w.people["unknown"] = holder{token: good[:len(good)-8] + "AAAAAAAA"}
	w.people["pages"] = holder{token: pagesToken}
	w.people["none"] = holder{}

	w.must(os.CopyFS(w.media, fixtures.Library()))
	entries, err := keyring.ParseImport(bytes.NewReader(fixtures.Keys()))
	w.must(err)
	for _, e := range entries {
		w.keys = append(w.keys, e.Key.RevealSecretBytes())
		_, err := w.engine.Ring.Import(w.t.Context(), e.KID, e.Key, keyring.ImportOptions{})
		w.must(err)
	}
	w.scan()
}

func (w *world) scan() {
	w.t.Helper()
	_, err := catalog.Rescan(w.t.Context(), w.engine.Media, w.engine.Index(), register{w}, w.engine.Options(), w.clock)
	w.must(err)
}

// begun is a rotation that stands.
func (w *world) begun(kid string) string {
	w.t.Helper()
	k, err := key.ParseKID(kid)
	w.must(err)
	p, err := w.engine.Start(w.t.Context(), rotation.Request{Kind: journal.Compromise, KIDs: []key.KID{k}, Reason: "test"})
	w.must(err)
	return p.Rotation
}

// call is a request that is well formed and about something that is there.
type call struct {
	path    string
	body    any
	subject access.Subject // of an approved route
	request string         // that approved it
	// check looks at what an allowed one has come to. It may be nil.
	check func(answered) error
}

// calls prepares the requests: a subject of its own for each that changes one.
func (w *world) calls() map[string]func() call {
	other := w.begun("6f746865720000000f1e2d3c4b5a6978")
	vault := w.backup()
	return map[string]func() call{
		"GET /healthz": w.get("/healthz", ""), "GET /metrics": w.get("/metrics", "rekey_up"),
		"GET /": w.get("/", ""), "GET /queue": w.get("/queue", ""), "GET /queue/api/queues": w.get("/queue/api/queues", "queues"),

		"GET /api/v1/keys":                    w.get("/api/v1/keys", `"state":"compromised"`),
		"GET /api/v1/keys/{kid}":              w.get("/api/v1/keys/6d6f766965000000a1b2c3d4e5f60718", `"history":[`),
		"GET /api/v1/restore/key":             w.get("/api/v1/restore/key", "BEGIN PUBLIC KEY"),
		"GET /api/v1/keks":                    w.get("/api/v1/keks", "local:"),
		"GET /api/v1/rotations":               w.get("/api/v1/rotations", other),
		"GET /api/v1/rotations/{id}":          w.get("/api/v1/rotations/"+other, `"old_kid"`),
		"GET /api/v1/audit":                   w.get("/api/v1/audit?n=5", `"outcome"`),
		"GET /api/v1/requests":                w.get("/api/v1/requests", `[`),
		"GET /api/v1/identities":              w.get("/api/v1/identities", `"revoked":true`),
		"POST /api/v1/keks/destroy":           w.kekDestroyed,
		"POST /api/v1/restore":                vault,
		"POST /api/v1/backup":                 w.backedUp,
		"POST /api/v1/rotations":              w.started,
		"GET /api/v1/requests/{id}":           w.requestSeen,
		"POST /api/v1/identities":             w.joined,
		"POST /api/v1/requests":               w.requested,
		"POST /api/v1/keys/{kid}/state":       w.suspended,
		"POST /api/v1/keys/{kid}/export":      w.exported,
		"POST /api/v1/keys/{kid}/destroy":     w.destroyed,
		"POST /api/v1/requests/{id}/grant":    w.decided("grant", access.StandingGranted),
		"POST /api/v1/requests/{id}/refuse":   w.decided("refuse", access.StandingRefused),
		"POST /api/v1/identities/{id}/revoke": w.revoked,
	}
}

func (w *world) get(path, holds string) func() call {
	return func() call { return call{path: path, check: contains(holds)} }
}

func contains(text string) func(answered) error {
	return func(a answered) error {
		if !strings.Contains(a.body, text) {
			return fmt.Errorf("no %s in the answer %s", text, a.body)
		}
		return nil
	}
}

// inState checks what a key has become.
func (w *world) inState(kid key.KID, s keyring.State) func(answered) error {
	return func(answered) error {
		rec, err := w.engine.Ring.Get(w.t.Context(), kid)
		if err == nil && rec.State != s {
			err = fmt.Errorf("key is %s, want %s", rec.State, s)
		}
		return err
	}
}

func (w *world) suspended() call {
	kid := w.newKey(keyring.Active)
	body := map[string]any{"state": "suspended", "reason": "test"}
	return call{path: "/api/v1/keys/" + kid.String() + "/state", body: body, check: w.inState(kid, keyring.Suspended)}
}

func (w *world) exported() call {
	kid := w.newKey(keyring.Active)
	k := w.keys[len(w.keys)-1]
	return call{path: "/api/v1/keys/" + kid.String() + "/export", subject: access.Subject{KID: kid}, check: contains(hex.EncodeToString(k[:]))}
}

func (w *world) destroyed() call {
	kid := w.newKey(keyring.Deactivated)
	w.later(time.Second)
	w.scan() // shows that nothing depends on it
	return call{path: "/api/v1/keys/" + kid.String() + "/destroy", subject: access.Subject{KID: kid}, check: w.inState(kid, keyring.Destroyed)}
}

func (w *world) kekDestroyed() call {
	w.asked++
	kek, err := w.kek.Create(w.t.Context(), "spare-"+strconv.Itoa(w.asked))
	w.must(err)
	return call{path: "/api/v1/keks/destroy?kek=" + url.QueryEscape(kek), subject: access.Subject{KEK: kek}, check: func(answered) error {
		d, err := w.kek.Describe(w.t.Context(), kek)
		if err == nil && d.State != "pending-destruction" {
			err = fmt.Errorf("KEK is %s", d.State)
		}
		return err
	}}
}

func (w *world) started() call {
	kid, err := key.ParseKID("6d6f766965000000a1b2c3d4e5f60718")
	w.must(err)
	body := dashboard.NewRotation{KIDs: []key.KID{kid}, Reason: "test"}
	return call{path: "/api/v1/rotations", body: body, check: w.inState(kid, keyring.Compromised)}
}

// wish is a request of the operator's that waits.
func (w *world) wish() string {
	return w.request(w.people["operator"], access.KeysExport, access.Subject{KID: w.newKey(keyring.Active)})
}

func (w *world) requestSeen() call {
	id := w.wish()
	return call{path: "/api/v1/requests/" + id, check: contains(id)}
}

func (w *world) requested() call {
	body := dashboard.Wanted{Action: access.KeysExport, Subject: access.Subject{KID: w.newKey(keyring.Active)}, Reason: "test"}
	return call{path: "/api/v1/requests", body: body, check: contains(`"request":"`)}
}

func (w *world) decided(verb string, s access.Standing) func() call {
	return func() call {
		id := w.wish()
		return call{path: "/api/v1/requests/" + id + "/" + verb, body: map[string]string{"reason": "test"}, check: func(answered) error {
			got := w.ask(w.people["auditor"].token, "GET", "/api/v1/requests/"+id, "", nil)
			return contains(`"standing":"` + string(s) + `"`)(got)
		}}
	}
}

func (w *world) joined() call {
	body := map[string]any{"person": "newcomer", "roles": "auditor"}
	return call{path: "/api/v1/identities", body: body, check: contains(`"token":"rekey_`)}
}

func (w *world) revoked() call {
	h := w.join("gone", "auditor")
	return call{path: "/api/v1/identities/" + h.ID + "/revoke", body: map[string]string{"reason": "test"}, check: func(answered) error {
		if got := w.ask(h.token, "GET", "/api/v1/keys", "", nil); got.status != http.StatusUnauthorized {
			return fmt.Errorf("the token is good for %d", got.status)
		}
		return nil
	}}
}

// backup writes one of all keys, and says how it is restored.
func (w *world) backup() func() call {
	w.t.Helper()
	o := backup.Options{Threshold: 2, Created: w.clock()}
	var private []*ecdh.PrivateKey
	for _, name := range []string{"anna", "ben"} {
		p, err := ecdh.P256().GenerateKey(rand.Reader)
		w.must(err)
		private = append(private, p)
		o.Holders = append(o.Holders, backup.Holder{Name: name, Key: p.PublicKey()})
	}
	var file bytes.Buffer
	made, err := backup.Write(&file, w.entries(), o)
	w.must(err)
	sum := sha256.Sum256(file.Bytes())
	digest := hex.EncodeToString(sum[:])
	return func() call {
		b := dashboard.Bundle{Backup: file.Bytes(), Shares: w.shares(made.Header, private), Code: w.code(made)}
		print := made.Header.Fingerprint()
		return call{path: "/api/v1/restore?digest=" + digest + "&backup=" + print, body: b, subject: access.Subject{Digest: digest, Object: print}, check: contains(`"created":0`)}
	}
}

// backedUp is a backup to two holders that are new.
func (w *world) backedUp() call {
	w.t.Helper()
	o := backup.Options{Threshold: 2}
	body := dashboard.NewBackup{Threshold: 2}
	for _, name := range []string{"anna", "ben"} {
		p, err := ecdh.P256().GenerateKey(rand.Reader)
		w.must(err)
		der, err := x509.MarshalPKIXPublicKey(p.PublicKey())
		w.must(err)
		o.Holders = append(o.Holders, backup.Holder{Name: name, Key: p.PublicKey()})
		body.Holders = append(body.Holders, dashboard.NewHolder{Name: name, Key: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))})
	}
	s := access.Subject{Object: o.Terms(), Digest: backup.TermsDigest(o.Terms())}
	return call{path: "/api/v1/backup", body: body, subject: s, check: contains(`"enrolment":"otpauth://totp/`)}
}

func (w *world) entries() iter.Seq2[backup.Entry, error] {
	return func(yield func(backup.Entry, error) bool) {
		for c, err := range w.engine.Ring.Copies(w.t.Context(), "test") {
			if !yield(backup.Entry(c), err) {
				return
			}
		}
	}
}

// shares are sealed to the server, as their holders send them.
func (w *world) shares(h *backup.Header, private []*ecdh.PrivateKey) (out []string) {
	w.t.Helper()
	pem, err := w.restorer.PublicKey()
	w.must(err)
	to, err := backup.ParsePublicKey(pem)
	w.must(err)
	for i, p := range private {
		share, err := h.OpenShare(h.Shares[i], p)
		w.must(err)
		sealed, err := share.SealTo(to)
		w.must(err)
		text, err := sealed.MarshalText()
		w.must(err)
		out = append(out, string(text))
	}
	return out
}

func (w *world) code(m backup.Made) string {
	w.t.Helper()
	k, err := otp.NewKeyFromURL(m.Enrolment.RevealURL())
	w.must(err)
	code, err := totp.GenerateCodeCustom(k.Secret(), w.clock(), totp.ValidateOpts{
		Period: uint(k.Period()), Digits: k.Digits(), Algorithm: k.Algorithm(), //nolint:gosec // 30
	})
	w.must(err)
	return code
}
