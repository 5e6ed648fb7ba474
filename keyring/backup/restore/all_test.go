package restore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/store"
	"github.com/seed-6133abe0/rekey/store/storetest"
)

// stock puts keys into a ring.
func stock(t *testing.T, r *keyring.Ring, n int) []key.KID {
	t.Helper()
	var kids []key.KID
	for range n {
		kid := key.NewKID()
		if _, err := r.Import(t.Context(), kid, key.NewContentKey(), keyring.ImportOptions{}); err != nil {
			t.Fatal(err)
		}
		kids = append(kids, kid)
	}
	slices.SortFunc(kids, func(a, b key.KID) int { return bytes.Compare(a[:], b[:]) })
	return kids
}

func put(t *testing.T, s store.Store, name string, body []byte) {
	t.Helper()
	if _, err := s.Put(t.Context(), name, body, store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s store.Store, name string) string {
	t.Helper()
	b, _, err := store.ReadAll(t.Context(), s, name, "", 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func failed(c Counts) (kids []key.KID) {
	for _, f := range c.Failed {
		kids = append(kids, f.KID)
	}
	return kids
}

// TestAllPastOne: another key under a KID and a record that does not decode keep
// none of the others from being restored; the second is replaced where that is asked
// for, and what stood there is kept.
func TestAllPastOne(t *testing.T) {
	from := ringOver(t, folder(t))
	kids := stock(t, from, 5)
	secret := key.KIDFromURI("test:secret")
	if err := from.CreateSecret(t.Context(), secret, "test"); err != nil {
		t.Fatal(err)
	}
	body, u := made(t, from)
	s := folder(t)
	to := ringOver(t, s)
	if _, err := to.Import(t.Context(), kids[1], key.NewContentKey(), keyring.ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	name, secretName := "keys/"+kids[3].String()+".json", "secrets/"+secret.String()+".json"
	put(t, s, name, []byte("{cut"))
	put(t, s, secretName, nil)

	got, err := All(t.Context(), to, u, body, Options{Reason: "test"})
	if err != nil || got.Entries != 3 || got.Created != 3 || !slices.Equal(failed(got), []key.KID{kids[1], kids[3], secret}) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, words := range []string{keyring.ErrExists.Error(), keyring.ErrCorrupt.Error(), keyring.ErrCorrupt.Error()} {
		if !strings.Contains(got.Failed[i].Reason, words) {
			t.Errorf("%s: %s", got.Failed[i].KID, got.Failed[i].Reason)
		}
	}
	if read(t, s, name) != "{cut" {
		t.Error("a corrupt record was replaced, and nobody asked for it")
	}

	var told []audit.Record
	o := Options{Reason: "test", ReplaceCorrupt: true, Control: s, Record: func(_ context.Context, e audit.Record) error {
		told = append(told, e)
		return nil
	}}
	got, err = All(t.Context(), to, u, body, o)
	if err != nil || got.Entries != 5 || got.Created != 2 || got.Replaced != 2 || !slices.Equal(failed(got), kids[1:2]) {
		t.Errorf("%+v, %v", got, err)
	}
	if len(told) != 2 || told[0].Object != name || told[0].KID != kids[3].String() || told[1].Object != secretName {
		t.Errorf("on record: %+v", told)
	}
	if _, err := to.Unwrap(t.Context(), kids[3], keyring.Export, ""); err != nil {
		t.Errorf("the key that was replaced: %v", err)
	}
	kept := 0
	for info, err := range s.List(t.Context(), "corrupt/"+name+"/") {
		if kept++; err != nil || read(t, s, info.Key) != "{cut" {
			t.Errorf("kept as %s (%v)", info.Key, err)
		}
	}
	if kept != 1 {
		t.Errorf("%d are kept", kept)
	}
	for _, err := range to.List(t.Context()) {
		if err != nil {
			t.Errorf("listed: %v", err)
		}
	}
}

// TestAllReplacesOnlyThose: a record is left as it is where somebody has written it
// anew meanwhile, and where it cannot be put on record or kept.
func TestAllReplacesOnlyThose(t *testing.T) {
	from := ringOver(t, folder(t))
	kid := stock(t, from, 1)[0]
	body, u := made(t, from)
	down := errors.New("down")
	name := "keys/" + kid.String() + ".json"
	for what, spoil := range map[string]func(t *testing.T, f *storetest.Faulty, o *Options) string{
		"written anew": func(t *testing.T, f *storetest.Faulty, _ *Options) string {
			done := false
			f.Before = func(op, key string) error {
				if op == "put" && key == name && !done {
					done = true
					put(t, f.Store, name, []byte("{good"))
				}
				return nil
			}
			return "{good"
		},
		"not on record": func(_ *testing.T, _ *storetest.Faulty, o *Options) string {
			o.Record = func(context.Context, audit.Record) error { return down }
			return "{cut"
		},
		"not kept": func(_ *testing.T, f *storetest.Faulty, _ *Options) string {
			f.Before = func(op, key string) error {
				if op == "put" && strings.HasPrefix(key, "corrupt/") {
					return down
				}
				return nil
			}
			return "{cut"
		},
	} {
		t.Run(what, func(t *testing.T) {
			f := &storetest.Faulty{Store: folder(t)}
			to := ringOver(t, f)
			put(t, f.Store, name, []byte("{cut"))
			o := Options{Reason: "test", ReplaceCorrupt: true, Control: f, Record: func(context.Context, audit.Record) error { return nil }}
			want := spoil(t, f, &o)
			got, err := All(t.Context(), to, u, body, o)
			if err != nil || got.Replaced != 0 || len(got.Failed) != 1 {
				t.Errorf("%+v, %v", got, err)
			}
			if is := read(t, f.Store, name); is != want {
				t.Errorf("the record is %q, want %q", is, want)
			}
		})
	}
}
