package dashboard_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
)

// TestRestoreWithoutKMS: while no key can be wrapped a restore costs neither the
// approval nor the code, and is not put down to the backup; when one can be, both
// are good.
func TestRestoreWithoutKMS(t *testing.T) {
	t.Parallel()
	r := newReleased(t)
	kek, err := r.engine.Ring.KEK(t.Context())
	r.must(err)
	state := filepath.Join(filepath.Dir(r.root), "master.key.d", strings.TrimPrefix(kek, "local:")+".state")
	codes := filepath.Join(r.root, "restores") // those that were counted
	vault := r.backup()()
	id := r.granted(r.olga, r.anna, access.KeysRestore, vault.subject)
	var said bytes.Buffer
	r.engine.Log = slog.New(slog.NewTextHandler(&said, nil))
	r.must(r.kek.Disable(t.Context(), kek))
	off := mustRead(t, state)
	for what, body := range map[string][]byte{"switched off": off, "away": []byte("{cut")} {
		r.must(os.WriteFile(state, body, 0o600))
		r.news()
		said.Reset()
		got := r.ask(r.olga.token, "POST", vault.path, id, vault.body)
		if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, kek) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
		if !strings.Contains(said.String(), "status=503") {
			t.Errorf("%s: logged: %q", what, said.String())
		}
		if r.used(id) {
			t.Errorf("%s: the approval is used up", what)
		}
		if _, err := os.Stat(codes); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a code was counted (%v)", what, err)
		}
		if n := len(outcomes(r.news(), audit.KeyRestore, id, audit.Failed)); n != 1 {
			t.Errorf("%s: %d failures are on record", what, n)
		}
	}
	r.must(os.WriteFile(state, off, 0o600))
	r.must(r.kek.Enable(t.Context(), kek))
	if got := r.ask(r.olga.token, "POST", vault.path, id, vault.body); got.status != http.StatusOK || !r.used(id) {
		t.Errorf("in the end: %d %s", got.status, got.body)
	}
	if _, err := os.Stat(codes); err != nil {
		t.Errorf("the code that was taken: %v", err)
	}
}

// outcomes are the records of an action under a request that came out so.
func outcomes(of []audit.Record, action, request, outcome string) (out []audit.Record) {
	for _, e := range of {
		if e.Action == action && e.Request == request && e.Outcome == outcome {
			out = append(out, e)
		}
	}
	return out
}
