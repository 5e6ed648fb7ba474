package exposure

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-6133abe0/rekey/key"
)

// Result is what a summary amounts to. Members may be added to its JSON.
type Result struct {
	Keys []Key `json:"keys"` // the most exposed first
	// Unlisted are the fetches of keys beyond SummaryOptions.Keys.
	Unlisted  int64     `json:"unlisted,omitempty"`
	Unmatched Unmatched `json:"unmatched"`
	Files     []Report  `json:"files,omitempty"` // by name
}

// Key is how far one key got.
type Key struct {
	KID key.KID `json:"kid"`
	// Clients is how many clients fetched it.
	Clients int64 `json:"clients"`
	// Estimated: not all could be kept, and Clients is good to about 2 %.
	Estimated bool `json:"estimated,omitempty"`
	// Listed is how many clients are kept; Top shows those of them that fetched
	// most.
	Listed  int       `json:"listed"`
	Fetches int64     `json:"fetches"`
	First   time.Time `json:"first,omitzero"` // zero: nobody fetched it
	Last    time.Time `json:"last,omitzero"`
	// NotModified counts the answers 304, to those who had the key already.
	NotModified int64    `json:"not_modified"`
	Top         []Client `json:"top,omitempty"`
}

// Unmatched are fetches of what no known key stands at.
type Unmatched struct {
	Fetches int64 `json:"fetches"`
	// References are the first few in the order of the alphabet, without queries.
	References []string `json:"references,omitempty"`
}

// add keeps the references that sort first, whatever order they come in.
func (u *Unmatched) add(fetches int64, ref string) {
	u.Fetches += fetches
	if ref == "" {
		return
	}
	full := len(u.References) == maxUnmatched
	if full && ref >= u.References[maxUnmatched-1] {
		return
	}
	ref = bounded256(ref)
	i, found := slices.BinarySearch(u.References, ref)
	if found || i == maxUnmatched {
		return
	}
	if full {
		u.References = u.References[:maxUnmatched-1]
	}
	u.References = slices.Insert(u.References, i, strings.Clone(ref))
}

// Result sums up. The most exposed key comes first: by clients, then by fetches,
// then by the last fetch; keys that are alike in all stand in the order of KIDs.
func (s *Summary) Result() Result {
	r := Result{Keys: make([]Key, 0, len(s.keys)), Unlisted: s.unlisted, Unmatched: s.unmatched, Files: slices.Clone(s.files)}
	r.Unmatched.References = slices.Clone(r.Unmatched.References)
	for _, kid := range s.sorted() {
		r.Keys = append(r.Keys, s.keys[kid].result(kid, s.o.Top))
	}
	slices.SortStableFunc(r.Keys, Key.Compare)
	slices.SortStableFunc(r.Files, func(a, b Report) int { return cmp.Compare(a.File, b.File) })
	return r
}

// Compare orders keys as a result does: negative if k is more exposed than o.
func (k Key) Compare(o Key) int {
	return cmp.Or(
		cmp.Compare(o.Clients, k.Clients),
		cmp.Compare(o.Fetches, k.Fetches),
		o.Last.Compare(k.Last),
		bytes.Compare(k.KID[:], o.KID[:]),
	)
}

func (t *tally) result(kid key.KID, top int) Key {
	k := Key{KID: kid, Listed: len(t.clients), Fetches: t.fetches, First: t.first, Last: t.last, NotModified: t.notModified}
	k.Clients, k.Estimated = t.number()
	list := t.list()
	for _, c := range list[:min(top, len(list))] {
		k.Top = append(k.Top, *c)
	}
	return k
}

// Key returns what is known of one key; false: no fetch of it was seen.
func (s *Summary) Key(kid key.KID) (Key, bool) {
	t := s.keys[kid]
	if t == nil {
		return Key{KID: kid}, false
	}
	return t.result(kid, s.o.Top), true
}

// Clients returns all clients of a key that are kept, those who fetched most first.
func (s *Summary) Clients(kid key.KID) []Client {
	t := s.keys[kid]
	if t == nil {
		return nil
	}
	var all []Client
	for _, c := range t.list() {
		all = append(all, *c)
	}
	return all
}

// WriteText writes a result for people. What came from the logs and would not print
// is escaped: clients choose their own names and agents.
func (r Result) WriteText(w io.Writer) error {
	var text bytes.Buffer
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, k := range r.Keys {
		k.write(t)
	}
	if len(r.Keys) == 0 {
		_, _ = fmt.Fprintln(t, "no fetch of a known key")
	}
	if r.Unlisted > 0 {
		_, _ = fmt.Fprintf(t, "%s of keys beyond the bound, not listed\n", many(r.Unlisted, "fetch"))
	}
	if r.Unmatched.Fetches > 0 {
		_, _ = fmt.Fprintf(t, "%s of what no known key stands at\n", many(r.Unmatched.Fetches, "fetch"))
		for _, ref := range r.Unmatched.References {
			_, _ = fmt.Fprintf(t, "  %s\n", printable(ref))
		}
	}
	for _, f := range r.Files {
		f.write(t)
	}
	_ = t.Flush() // a buffer takes all
	if _, err := w.Write(text.Bytes()); err != nil {
		return fmt.Errorf("write exposure: %w", err)
	}
	return nil
}

func (k Key) write(w io.Writer) {
	about := ""
	if k.Estimated {
		about = "about "
	}
	_, _ = fmt.Fprintf(w, "%s: %s%s, %s", k.KID, about, many(k.Clients, "client"), many(k.Fetches, "fetch"))
	if !k.First.IsZero() {
		_, _ = fmt.Fprintf(w, ", %s to %s", k.First.UTC().Format(time.RFC3339), k.Last.UTC().Format(time.RFC3339))
	}
	if k.NotModified > 0 {
		_, _ = fmt.Fprintf(w, ", %d not modified", k.NotModified)
	}
	_, _ = fmt.Fprintln(w)
	for _, c := range k.Top {
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", printable(c.Client), many(c.Fetches, "fetch"),
			c.First.UTC().Format(time.RFC3339), c.Last.UTC().Format(time.RFC3339), printable(c.Agent))
	}
	if hidden := k.Clients - int64(len(k.Top)); hidden > 0 {
		_, _ = fmt.Fprintf(w, "  and %s%d more\n", about, hidden)
	}
}

func (r Report) write(w io.Writer) {
	format := string(r.Format)
	if format == "" {
		format = "empty"
	}
	_, _ = fmt.Fprintf(w, "%s (%s): %s, %d counted, %d not modified, %d refused, %d outside the time, %d other, %d unreadable\n",
		printable(r.File), format, many(r.Lines, "line"), r.Fetches, r.NotModified, r.Refused, r.Outside, r.Other, r.Bad)
	for _, p := range r.Problems {
		_, _ = fmt.Fprintf(w, "  line %d: %v: %s\n", p.Line, p.Class, p.Reason)
	}
}

func many(n int64, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case what == "fetch":
		return fmt.Sprintf("%d fetches", n)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printable escapes what would move a terminal's cursor, and tabs, on which the
// columns stand.
func printable(s string) string {
	quoted := strconv.QuoteToGraphic(s)
	if inner := quoted[1 : len(quoted)-1]; inner == s {
		return s
	}
	return quoted
}
