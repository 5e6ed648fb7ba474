package dashboard_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"golang.org/x/mod/sumdb/note"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/dashboard"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
)

const pagesToken = "the token of the queue page"

// world is a server over a control store in a folder, and those who hold roles in
// it.
type world struct {
	t        *testing.T
	root     string // of the control store
	media    string
	store    store.Store
	log      *audit.Log
	ids      *access.Identities
	signer   *audit.Signer
	engine   *rotation.Engine
	kek      *kms.Local
	restorer *dashboard.Restorer
	url      string
	tail     *audit.Tail
	rounds   int // of the tail: a stream that was silent for an hour is looked at in one of 16
	people   map[string]holder
	keys     [][16]byte // every one that was ever put in
	said     []said

	mu    sync.Mutex
	now   time.Time
	asked int
}

// holder is somebody with a token.
type holder struct {
	access.Identity
	token string
}

// said is what the server answered to a request.
type said struct{ what, answer string }

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{
		t: t, root: filepath.Join(dir, "control"), media: filepath.Join(dir, "media"),
		now: time.Date(2026, 5, 4, 11, 50, 1, 0, time.UTC), people: map[string]holder{}, rounds: 1,
	}
	w.store = w.folder(w.root)
	w.log = audit.New(w.store, w.clock, "server")
	w.signer = signer(t, "rekey-audit")
	w.ids = access.NewIdentities(access.Options{
		Store: w.store, Log: w.log, Clock: w.clock, Signer: w.signer, Verifiers: []note.Verifier{w.signer.Verifier()},
		// Those who fail are slowed down by address; here each comes from their own.
		Origin: func(r *http.Request) string { return r.Header.Get("Test-Address") },
	})
	w.kek = kms.NewLocal(kms.LocalOptions{Path: filepath.Join(dir, "master.key"), Clock: w.clock})
	kek, err := w.kek.Primary(t.Context())
	w.must(err)
	openings := rotation.NewOpenings(journal.New(w.store))
	w.engine = &rotation.Engine{
		Media: w.folder(w.media), Control: w.store, Audit: w.log, Actor: "server", Openings: openings, HandoverNone: true,
		Ring:  keyring.New(keyring.Options{Store: w.store, KMS: kms.Set{kms.LocalScheme: w.kek}, KEK: kek, Log: w.log, Clock: w.clock, Rotations: openings}),
		Clock: w.clock, Log: slog.New(slog.DiscardHandler), Owner: "server/1",
	}
	w.restorer, err = dashboard.NewRestorer(w.store, w.clock)
	w.must(err)
	w.serve()
	return w
}

// signer is a new signing key.
func signer(t *testing.T, name string) *audit.Signer {
	t.Helper()
	skey, _, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// listen begins with the records that news gives.
func (w *world) listen() {
	w.t.Helper()
	w.tail = audit.NewTail(w.store, w.clock)
	_, err := w.tail.Last(w.t.Context(), 1)
	w.must(err)
}

func (w *world) folder(name string) store.Store {
	w.t.Helper()
	w.must(os.MkdirAll(name, 0o700))
	s, err := store.OpenDir(name)
	w.must(err)
	return s
}

func (w *world) serve() {
	p, err := dashboard.New(dashboard.Options{
		Redis: asynq.RedisClientOpt{Addr: miniredis.RunT(w.t).Addr()}, Token: pagesToken,
		Metrics: http.HandlerFunc(func(r http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(r, "rekey_up 1\n") }),
		API: &dashboard.API{
			Identities: w.ids, Approvals: access.NewApprovals(w.ids, access.ApprovalOptions{}), Engine: w.engine,
			Control: w.store, Audit: w.log, Restore: w.restorer, KEKs: kms.Set{kms.LocalScheme: w.kek},
		},
	})
	w.must(err)
	srv := httptest.NewServer(p)
	w.url = srv.URL
	w.t.Cleanup(func() {
		srv.Close()
		if err := p.Close(); err != nil {
			w.t.Error(err)
		}
	})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// clock never says the same twice, so that records have an order.
func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(time.Microsecond)
	return w.now
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// join grants roles to a person.
func (w *world) join(person, roles string) holder {
	w.t.Helper()
	by, err := access.Console("root")
	w.must(err)
	r, err := access.ParseRole(roles)
	w.must(err)
	token, id, err := w.ids.Grant(w.t.Context(), by, access.Grant{Person: person, Roles: r})
	w.must(err)
	return holder{id, token.RevealSecretText()}
}

func (w *world) revoke(h holder) {
	w.t.Helper()
	by, err := access.Console("root")
	w.must(err)
	w.must(w.ids.Revoke(w.t.Context(), by, h.ID, "test"))
}

// newKey puts a key in, in the state.
func (w *world) newKey(s keyring.State) key.KID {
	w.t.Helper()
	kid, k := key.NewKID(), key.NewContentKey()
	w.keys = append(w.keys, k.RevealSecretBytes())
	_, err := w.engine.Ring.Import(w.t.Context(), kid, k, keyring.ImportOptions{})
	if err == nil && s != keyring.Active {
		err = w.engine.Ring.SetState(w.t.Context(), kid, s, "test")
	}
	w.must(err)
	return kid
}

// register takes the keys that the media root publishes itself.
type register struct{ w *world }

func (r register) Register(ctx context.Context, kid key.KID, k key.ContentKey, uri string) error {
	r.w.keys = append(r.w.keys, k.RevealSecretBytes())
	_, err := r.w.engine.Ring.Import(ctx, kid, k, keyring.ImportOptions{URI: uri, AllowWeak: true})
	return err
}

// answered is an HTTP response.
type answered struct {
	status int
	body   string
}

// ask makes a request. request names the approval that it uses.
func (w *world) ask(token, method, path, request string, body any) answered {
	w.t.Helper()
	w.later(2 * time.Second)
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, w.encode(body))
	w.must(err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if request != "" {
		r.Header.Set(access.ApprovalHeader, request)
	}
	w.mu.Lock()
	w.asked++
	r.Header.Set("Test-Address", "10.0."+strconv.Itoa(w.asked/250)+"."+strconv.Itoa(w.asked%250))
	w.mu.Unlock()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	w.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	w.must(err)
	var head bytes.Buffer
	w.must(resp.Header.Write(&head))
	w.mu.Lock()
	w.said = append(w.said, said{method + " " + path, head.String() + "\n" + string(b)})
	w.mu.Unlock()
	return answered{resp.StatusCode, string(b)}
}

func (w *world) encode(body any) io.Reader {
	w.t.Helper()
	if body == nil {
		return http.NoBody
	}
	b, err := json.Marshal(body)
	w.must(err)
	return bytes.NewReader(b)
}

// request asks for the release of an action, over HTTP.
func (w *world) request(by holder, a access.Action, s access.Subject) string {
	w.t.Helper()
	got := w.ask(by.token, "POST", "/api/v1/requests", "", dashboard.Wanted{Action: a, Subject: s, Reason: "test"})
	var out struct {
		Request string `json:"request"`
	}
	if err := json.Unmarshal([]byte(got.body), &out); err != nil || out.Request == "" {
		w.t.Fatalf("request of %s by %s: %d %s", a, by, got.status, got.body)
	}
	return out.Request
}

func (w *world) grant(approver holder, request string) answered {
	w.t.Helper()
	return w.ask(approver.token, "POST", "/api/v1/requests/"+request+"/grant", "", nil)
}

// granted is a request that an approver has released.
func (w *world) granted(by, approver holder, a access.Action, s access.Subject) string {
	w.t.Helper()
	id := w.request(by, a, s)
	if got := w.grant(approver, id); got.status != http.StatusOK {
		w.t.Fatalf("grant: %d %s", got.status, got.body)
	}
	return id
}

func (w *world) export(by holder, kid key.KID, request string) answered {
	w.t.Helper()
	return w.ask(by.token, "POST", "/api/v1/keys/"+kid.String()+"/export", request, nil)
}

// stands is every object of the control store but those of the audit log, by the
// digests of their bytes.
func (w *world) stands() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(w.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(w.root, name)
		if err != nil || strings.HasPrefix(filepath.ToSlash(rel), "audit/") && !strings.HasPrefix(filepath.ToSlash(rel), "audit/states/") {
			return err
		}
		b, err := os.ReadFile(name)
		sum := sha256.Sum256(b)
		out[filepath.ToSlash(rel)] = hex.EncodeToString(sum[:])
		return err
	})
	w.must(err)
	if len(out) == 0 {
		w.t.Fatal("the control store holds nothing")
	}
	return out
}

// news are the records since it was called last.
func (w *world) news() []audit.Record {
	w.t.Helper()
	var out []audit.Record
	for range w.rounds {
		entries, err := w.tail.Next(w.t.Context())
		w.must(err)
		for _, e := range entries {
			out = append(out, e.Record)
		}
	}
	return out
}

// noteFile is where one of a request's objects stands.
func (w *world) noteFile(request, object string) string {
	return filepath.Join(w.root, "approvals", request[:8], request, object)
}

// used tells whether a request's approval is used up.
func (w *world) used(request string) bool {
	w.t.Helper()
	_, err := os.Stat(w.noteFile(request, "used"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	return err == nil
}
