package cenc

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
)

const packagers = "../fixtures/cenc"

// media is one file of another packager: whole, or an init section and segments
// one after another.
type media struct {
	name   string
	file   []byte
	keys   map[key.KID]key.ContentKey
	clear  []string
	refuse string
}

func packagerMedia(t testing.TB) (out []media) {
	t.Helper()
	cases, err := fixtures.CENC(packagers)
	if err != nil || len(cases) == 0 {
		t.Fatalf("no media of other packagers: %v", err)
	}
	for _, c := range cases {
		for _, m := range c.Media {
			x := media{name: c.Name + "/" + m.Name, keys: map[key.KID]key.ContentKey{}, clear: m.Clear, refuse: c.Refuse}
			for _, f := range m.Files {
				b, err := os.ReadFile(filepath.Join(c.Dir, f))
				if err != nil {
					t.Fatal(err)
				}
				x.file = append(x.file, b...)
			}
			for _, k := range m.Keys {
				kid, err := key.ParseKID(k.KID)
				if err != nil {
					t.Fatal(err)
				}
				if x.keys[kid], err = key.ParseContentKey(k.Key); err != nil {
					t.Fatal(err)
				}
			}
			out = append(out, x)
		}
	}
	return out
}

// rekeyFile rekeys b to out, and gives its clear form.
func rekeyFile(name string, b []byte, ch key.Changes) (out, clear []byte, res FileResult, err error) {
	f, err := OpenFile(name, bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, nil, res, err
	}
	var o, c bytes.Buffer
	res, err = f.Rekey(&o, Place{Object: name, IVs: 5 << 48}, ch, FileOptions{Clear: &c})
	return o.Bytes(), c.Bytes(), res, err
}

func decryptFile(t testing.TB, name string, b []byte, keys map[key.KID]key.ContentKey) ([]byte, FileResult) {
	t.Helper()
	clear, res, err := tryDecrypt(name, b, keys)
	if err != nil {
		t.Fatal(err)
	}
	return clear, res
}

func tryDecrypt(name string, b []byte, keys map[key.KID]key.ContentKey) ([]byte, FileResult, error) {
	f, err := OpenFile(name, bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, FileResult{}, err
	}
	var c bytes.Buffer
	res, err := f.Decrypt(keys, FileOptions{Clear: &c})
	return c.Bytes(), res, err
}

// TestPackagers: what other packagers wrote, in every scheme, decrypts to the
// media they were given, before and after; the length stays, the old KIDs go,
// and no counter block is used twice.
func TestPackagers(t *testing.T) {
	for _, m := range packagerMedia(t) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			ch := newChanges(m.keys)
			out, clear, res, err := rekeyFile(m.name, m.file, ch)
			if m.refuse != "" {
				if err == nil {
					t.Errorf("taken, although %s", m.refuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(out) != len(m.file) {
				t.Errorf("%d bytes became %d", len(m.file), len(out))
			}
			if got, want := streamhash(t, plain(clear), key.NewContentKey()), strings.Join(m.clear, "\n"); strings.ReplaceAll(got, "SHA256=", "") != want {
				t.Errorf("clear media is\n%s\nwant\n%s", got, want)
			}
			if res.Evidence.Verdict() == evidence.Wrong || len(res.Kept) > 0 {
				t.Errorf("evidence %+v, kept %v", res.Evidence, res.Kept)
			}
			again, after := decryptFile(t, m.name, out, newKeys(ch))
			if !bytes.Equal(again, clear) {
				t.Error("the new file has another clear form")
			}
			for _, f := range after.Findings {
				t.Errorf("the new file has a finding: %+v", f)
			}
			for kid := range m.keys {
				if bytes.Contains(out, kid[:]) {
					t.Errorf("KID %v still stands in the new file", kid)
				}
			}
		})
	}
}
