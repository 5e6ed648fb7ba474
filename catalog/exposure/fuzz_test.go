package exposure_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog/exposure"
)

// Whatever a log holds: no panic, errors of a class, lines that add up, and a
// summary that does not depend on where the log was split.
func FuzzRead(f *testing.F) {
	for _, c := range sampleCases(f) {
		f.Add([]byte(c.text), string(c.format))
		f.Add([]byte(c.text), "")
		f.Add([]byte(pack(f, c.text)), "")
	}
	for _, text := range logs() {
		f.Add([]byte(text), "")
	}
	f.Add([]byte(`{"Records":[`+eventGet+`,`+eventDecrypt+`]}`), "")
	f.Add([]byte("#Fields: timestamp c-ip cs-uri-stem sc-status\n1\t::1\t/%25\t200\n"), "")
	f.Fuzz(func(t *testing.T, log []byte, format string) {
		o := exposure.Options{Name: "f", Format: exposure.Format(format), MaxBytes: 4 << 20}
		all, r, err := readAll(string(log), o)
		checkEnding(t, err)
		if sum := r.Fetches + r.NotModified + r.Refused + r.Outside + r.Other + r.Bad; sum != r.Lines || int64(len(all)) != r.Fetches+r.NotModified {
			t.Fatalf("%d yielded, %+v", len(all), r)
		}
		x := resolver(t)
		one := exposure.NewSummary(exposure.SummaryOptions{Resolver: x, Pairs: 8})
		left, right := exposure.NewSummary(exposure.SummaryOptions{Resolver: x}), exposure.NewSummary(exposure.SummaryOptions{Resolver: x})
		whole := exposure.NewSummary(exposure.SummaryOptions{Resolver: x})
		for i, g := range all {
			if g.Client == "" || g.Time.IsZero() || g.URI == "" && g.KID.IsZero() {
				t.Fatalf("half a fetch: %+v", g)
			}
			checkRef(t, g.URI)
			half := left
			if i%3 == 0 {
				half = right
			}
			add(t, one, g)
			add(t, whole, g)
			add(t, half, g)
		}
		left.Merge(right)
		if a, b := shape(t, left), shape(t, whole); a != b {
			t.Fatalf("merged\n%s\nwhole\n%s", a, b)
		}
		if err := one.Result().WriteText(io.Discard); err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
	})
}

func checkEnding(t *testing.T, err error) {
	t.Helper()
	for _, class := range []error{exposure.ErrFormat, exposure.ErrTooLong, exposure.ErrTooLarge, exposure.ErrUnreadable, exposure.ErrCorrupt} {
		if err == nil || errors.Is(err, class) {
			return
		}
	}
	t.Fatalf("error of no class: %v", err)
}

// checkRef: a reference that is spelt as ParseRef spells it is read as itself, and
// prints.
func checkRef(t *testing.T, uri string) {
	t.Helper()
	r, err := exposure.ParseRef(uri)
	if err != nil {
		if !errors.Is(err, exposure.ErrReference) {
			t.Fatalf("%q: %v", uri, err)
		}
		return
	}
	again, err := exposure.ParseRef(r.Path + "?" + r.Query)
	if r.Path[0] != '/' || err == nil && (again.Path != r.Path || again.Query != r.Query) {
		t.Fatalf("%q: %+v, again %+v, %v", uri, r, again, err)
	}
	if strings.ContainsFunc(r.Path, func(c rune) bool { return c <= ' ' || c > '~' }) {
		t.Fatalf("%q: path %q", uri, r.Path)
	}
}
