package exposure

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// ErrReference is the class of a URI that names nothing.
var ErrReference = errors.New("URI names no key")

// maxReference bounds a URI, in bytes.
const maxReference = 16 << 10

// Ref is a URI as two spellings of it compare: without scheme, user, default port
// and fragment, the host in lower case, the path without dot segments and percent
// signs that need not be (RFC 3986 §6.2.2), the query without what signs it.
type Ref struct {
	Host  string // of s3://bucket/key the bucket; empty: the URI is a path
	Path  string // from the first slash on
	Query string // its parameters, sorted, joined with &
}

// String spells host and path. It leaves out the query, which may be a token.
func (r Ref) String() string { return r.Host + r.Path }

// ParseRef reads a URL, //host/path, a path, or a name relative to the root. Its
// errors are of class [ErrReference] and do not quote the URI.
func ParseRef(uri string) (Ref, error) {
	switch {
	case uri == "":
		return Ref{}, fmt.Errorf("read URI: %w: it is empty", ErrReference)
	case len(uri) > maxReference:
		return Ref{}, fmt.Errorf("read URI: %w: over %d bytes", ErrReference, maxReference)
	case len(uri) >= 5 && strings.EqualFold(uri[:5], "data:"):
		return Ref{}, fmt.Errorf("read URI: %w: a data: URI", ErrReference)
	}
	uri, _, _ = strings.Cut(uri, "#")
	uri, query, _ := strings.Cut(uri, "?")
	var r Ref
	r.Query = unsigned(query)
	if host, p, ok := authority(uri); ok {
		r.Host, uri = host, p
		if r.Host == "" {
			return Ref{}, fmt.Errorf("read URI: %w: its host is empty", ErrReference)
		}
	}
	r.Path = withoutTokens(canonical(uri))
	return r, nil
}

// authority takes scheme and host off a URL.
func authority(uri string) (host, rest string, ok bool) {
	rest, ok = strings.CutPrefix(uri, "//")
	if !ok {
		scheme, after, found := strings.Cut(uri, "://")
		if !found || !isScheme(scheme) {
			return "", uri, false
		}
		rest = after
	}
	host = rest
	rest = ""
	if i := strings.IndexByte(host, '/'); i >= 0 {
		host, rest = host[:i], host[i:]
	}
	host = strings.ToLower(host[strings.LastIndexByte(host, '@')+1:])
	for _, port := range []string{":80", ":443", ":"} {
		if name, is := strings.CutSuffix(host, port); is && (!strings.Contains(name, ":") || strings.HasSuffix(name, "]")) {
			return name, rest, true
		}
	}
	return host, rest, true
}

// isScheme follows RFC 3986 §3.1.
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if letter := c >= 'a' && c <= 'z'; !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(s[i]))) {
			return false
		}
	}
	return s != ""
}

// canonical is the one spelling of a path. A %2F is no slash and stays, as does %25.
func canonical(p string) string {
	if p == "" || p[0] != '/' {
		p = "/" + p
	}
	if !isPlain(p) {
		p = respell(p)
	}
	if !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p
	}
	clean := path.Clean(p)
	if clean != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		clean += "/"
	}
	return clean
}

// isPlain reports a path in which respell would change nothing.
func isPlain(p string) bool {
	for i := range len(p) {
		if !plainByte(p[i]) {
			return false
		}
	}
	return true
}

// plainByte reports what stands in a path as it is: pchar of RFC 3986 §3.3, and
// the slash.
func plainByte(c byte) bool {
	switch {
	case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("/-._~!$&'()*+,;=:@", c) >= 0
}

// respell encodes what must be encoded and nothing else.
func respell(p string) string {
	out := make([]byte, 0, len(p)+16)
	for i := 0; i < len(p); i++ {
		c, keep := p[i], plainByte(p[i])
		if c == '%' {
			if b, ok := hexByte(p, i+1); ok {
				c, keep = b, plainByte(b) && b != '/'
				i += 2
			}
		}
		if keep {
			out = append(out, c)
			continue
		}
		out = appendPercent(out, c)
	}
	return string(out)
}

func appendPercent(out []byte, c byte) []byte {
	const digit = "0123456789ABCDEF"
	return append(out, '%', digit[c>>4], digit[c&15])
}

// escape spells the key of an object, in which a percent sign is one, as a path.
func escape(name string) string {
	out := make([]byte, 0, len(name)+16)
	for i := range len(name) {
		if plainByte(name[i]) {
			out = append(out, name[i])
			continue
		}
		out = appendPercent(out, name[i])
	}
	return string(out)
}

// withoutTokens cuts the path segments in which CDNs carry their tokens: Akamai's
// hdnts, hdnea and hdntl, Media CDN's edge-cache-token.
func withoutTokens(p string) string {
	if !strings.Contains(p, "/hdn") && !strings.Contains(p, "/edge-cache-token=") {
		return p
	}
	kept := slices.DeleteFunc(strings.Split(p, "/"), func(segment string) bool {
		name, _, ok := strings.Cut(segment, "=")
		return ok && slices.Contains([]string{"hdnts", "hdnea", "hdntl", "edge-cache-token"}, name)
	})
	if len(kept) == 1 {
		return "/"
	}
	return strings.Join(kept, "/")
}

// unsigned cuts the parameters that sign a URL out of a query, and sorts the rest.
func unsigned(query string) string {
	if query == "" {
		return ""
	}
	var kept []string
	for more := true; more; {
		var p string
		p, query, more = strings.Cut(query, "&")
		name, _, _ := strings.Cut(p, "=")
		if p != "" && !signs(strings.ToLower(unpercent(name))) {
			kept = append(kept, respell(p))
		}
	}
	slices.Sort(kept)
	return strings.Join(kept, "&")
}

// signs reports a query parameter by which a signed URL is signed: of CloudFront,
// of S3 in both versions, of Cloud Storage and Cloud CDN, of Azure and Akamai, and
// what others call theirs.
func signs(name string) bool {
	switch name {
	case "expires", "signature", "key-pair-id", "policy", "hash-algorithm", "awsaccesskeyid", "googleaccessid",
		"keyname", "urlprefix", "edge-cache-token", "sig", "hdnts", "hdnea", "hdntl", "__token__", "__gda__",
		"token", "access_token", "auth", "jwt", "sign", "st", "exp", "hmac":
		return true
	}
	return strings.HasPrefix(name, "x-amz-") || strings.HasPrefix(name, "x-goog-")
}
