package exposure

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/key"
)

// Resolver says which keys an answer from somewhere gives away.
type Resolver interface {
	// KIDs returns the keys that stand at ref, in any order and each once; none,
	// without an error: no key stands there. An error ends the summary's Add,
	// which returns it wrapped, so it is for a resolver that cannot answer, and
	// not for a reference that it does not know. It is called for each fetch that
	// names no KID; what it returns is read before the next call, and not changed.
	KIDs(ref Ref) ([]key.KID, error)
}

// Index is a Resolver that knows URIs and their keys. The zero value knows none.
// Reading from several goroutines is safe while nobody adds.
type Index struct{ byPath map[string][]indexed }

type indexed struct {
	host  string
	query []string
	kids  []key.KID
}

// Add says which keys stand at a URI: a URL or a path. A path is found at every
// host; a URL at its own host, and where a log names no host. A URI with a query
// is found if the fetch's query has all of its parameters, and one without at any
// query. A name relative to the media root is one path from each root at which the
// library is served, and one s3://bucket/… from each bucket whose logs are read:
// the caller adds all.
func (x *Index) Add(uri string, kids ...key.KID) error {
	r, err := ParseRef(uri)
	if err != nil {
		return fmt.Errorf("index key URI: %w", err)
	}
	e := indexed{host: r.Host}
	for _, k := range kids {
		if !slices.Contains(e.kids, k) {
			e.kids = append(e.kids, k)
		}
	}
	if r.Query != "" {
		e.query = strings.Split(r.Query, "&")
	}
	if x.byPath == nil {
		x.byPath = map[string][]indexed{}
	}
	x.byPath[r.Path] = append(x.byPath[r.Path], e)
	return nil
}

// KIDs implements Resolver. It returns no error.
func (x *Index) KIDs(ref Ref) ([]key.KID, error) {
	entries := x.byPath[ref.Path]
	var found []key.KID
	for _, e := range entries {
		if !e.matches(ref) {
			continue
		}
		if found == nil && len(entries) == 1 {
			return e.kids, nil
		}
		for _, k := range e.kids {
			if !slices.Contains(found, k) {
				found = append(found, k)
			}
		}
	}
	return found, nil
}

func (e indexed) matches(ref Ref) bool {
	if e.host != "" && ref.Host != "" && e.host != ref.Host {
		return false
	}
	if len(e.query) == 0 {
		return true
	}
	have := strings.Split(ref.Query, "&")
	for _, p := range e.query {
		if !slices.Contains(have, p) {
			return false
		}
	}
	return true
}
