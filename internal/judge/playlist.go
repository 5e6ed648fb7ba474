package judge

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// The parts of a playlist (RFC 8216 §4.1, §4.2; rfc8216bis §4.3 for variables).
// It is read here by other means than package hls reads it: as the judge of what
// that package wrote.
var (
	attribute = regexp.MustCompile(`([A-Z0-9-]+)[ \t]*=[ \t]*("[^"]*"|[^,\r\n]*)`)
	variable  = regexp.MustCompile(`\{\$([A-Za-z0-9_-]+)\}`)
	treeDir   = regexp.MustCompile(`(^|/)_rekey/[^/]+/`)
)

// Logical is the name that an object had before any rotation.
func Logical(key string) string { return treeDir.ReplaceAllString(key, "$1") }

// piece is what one line of a media playlist leads to: a segment, a part or an
// init section, or a sub-range of one.
type piece struct {
	line           int
	object         string
	ranged         bool
	offset, length int64
	method         string
	// key is the key object; empty where the key is none of the library.
	key string
	iv  [16]byte
	// view is a sub-range in an I-frame playlist; init is an EXT-X-MAP; part is
	// an EXT-X-PART, whose media a segment lists again.
	view, init, part bool
}

func (p piece) String() string {
	if p.ranged {
		return fmt.Sprintf("%s@%d+%d", p.object, p.offset, p.length)
	}
	return p.object
}

// bytes is what is stored of the piece.
func (p piece) bytes(root string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(p.object)))
	if err != nil || !p.ranged {
		return b, err
	}
	if p.offset < 0 || p.length <= 0 || p.offset+p.length > int64(len(b)) {
		return nil, fmt.Errorf("%s is past the end, at %d", p, len(b))
	}
	return b[p.offset : p.offset+p.length], nil
}

// playlist is one that was read; key is its path under the media root.
type playlist struct {
	key      string
	lines    []string // with their ends
	pieces   []piece
	children []child
	// targets are where the references of each line lead, with their queries,
	// in order.
	targets map[int][]string
	vars    map[string]string
	iframes bool
	// systems tells key tags of a key system, beside or instead of the key.
	systems bool
}

type child struct {
	key   string
	query url.Values
}

// reader is the state while a playlist is read.
type reader struct {
	*playlist
	imported   map[string]string
	query      url.Values
	sequence   uint64
	method     string
	keyObject  string
	iv         *[16]byte
	next       *piece           // the byte range that was just given
	ends       map[string]int64 // where the last sub-range of an object ended
	child, gap bool
}

func readPlaylist(root, key string, imported map[string]string, query url.Values) (*playlist, error) {
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(key)))
	if err != nil {
		return nil, err
	}
	p := &playlist{key: key, targets: map[int][]string{}, vars: map[string]string{}}
	p.lines = strings.SplitAfter(string(b), "\n")
	p.iframes = strings.Contains(string(b), "#EXT-X-I-FRAMES-ONLY")
	r := &reader{playlist: p, imported: imported, query: query, ends: map[string]int64{}}
	for i, line := range p.lines {
		line = strings.TrimRight(strings.TrimPrefix(line, "\ufeff"), " \t\r\n")
		switch {
		case line == "":
		case strings.HasPrefix(line, "#EXT"):
			err = r.tag(i, line)
		case !strings.HasPrefix(line, "#"):
			err = r.uri(i, line)
		}
		if err != nil {
			return nil, fmt.Errorf("%s line %d: %w", key, i+1, err)
		}
	}
	return p, nil
}

// resolve is where a reference leads: an object of the library, and the whole of
// it with what follows the path.
func (r *reader) resolve(line int, ref string) (object string, query url.Values, err error) {
	if ref, err = r.filled(ref); err != nil {
		return "", nil, err
	}
	u, err := url.Parse(ref)
	if err != nil {
		return "", nil, err
	}
	full := (&url.URL{Scheme: "http", Host: "library", Path: "/" + r.key}).ResolveReference(u)
	if full.Host != "library" {
		r.targets[line] = append(r.targets[line], ref)
		return "", nil, nil
	}
	object = strings.TrimPrefix(full.Path, "/")
	r.targets[line] = append(r.targets[line], Logical(object)+"?"+full.RawQuery+"#"+full.Fragment)
	return object, full.Query(), nil
}

func (r *reader) filled(s string) (string, error) {
	var unknown string
	s = variable.ReplaceAllStringFunc(s, func(ref string) string {
		v, ok := r.vars[ref[2:len(ref)-1]]
		if !ok {
			unknown = ref
		}
		return v
	})
	if unknown != "" {
		return "", fmt.Errorf("variable %s is not defined", unknown)
	}
	return s, nil
}

// uri reads a line that is a reference: a variant or a segment.
func (r *reader) uri(line int, ref string) error {
	object, query, err := r.resolve(line, ref)
	if err != nil {
		return err
	}
	if r.child {
		r.child = false
		r.children = append(r.children, child{object, query})
		return nil
	}
	p := piece{}
	if r.next != nil {
		p, r.next = *r.next, nil
	}
	p.line, p.object, p.view = line+1, object, r.iframes && p.ranged
	r.under(&p)
	if !r.gap {
		r.add(p)
	}
	r.gap = false
	r.sequence++
	return nil
}

// under gives the piece the key in force and its IV (RFC 8216 §5.2).
func (r *reader) under(p *piece) {
	p.method, p.key = r.method, r.keyObject
	if r.iv != nil {
		p.iv = *r.iv
		return
	}
	for i := range 8 {
		p.iv[15-i] = byte(r.sequence >> (8 * i))
	}
}

func (r *reader) add(p piece) {
	if p.ranged {
		if p.offset < 0 {
			p.offset = r.ends[p.object]
		}
		r.ends[p.object] = p.offset + p.length
	}
	r.pieces = append(r.pieces, p)
}

// ranged reads n[@o]; without o it goes on where the last one ended.
func ranged(s string) (piece, error) {
	n, o, given := strings.Cut(strings.Trim(s, `"`), "@")
	p := piece{ranged: true, offset: -1}
	var err error
	if p.length, err = strconv.ParseInt(n, 10, 64); err == nil && given {
		p.offset, err = strconv.ParseInt(o, 10, 64)
	}
	return p, err
}
