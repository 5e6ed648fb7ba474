package dash

import "strings"

// isAbsolute reports a reference that no BaseURL changes: one with a scheme (RFC
// 3986 §3.1) or an absolute or network path (§4.2).
func isAbsolute(ref string) bool {
	if strings.HasPrefix(ref, "/") {
		return true
	}
	for i := 0; i < len(ref); i++ {
		c := ref[i] | 0x20
		switch {
		case c >= 'a' && c <= 'z':
		case i > 0 && (ref[i] >= '0' && ref[i] <= '9' || ref[i] == '+' || ref[i] == '-' || ref[i] == '.'):
		default:
			return i > 0 && ref[i] == ':'
		}
	}
	return false
}

// join resolves ref against base, which is empty or ends in a slash.
func join(base, ref string) string {
	if isAbsolute(ref) {
		return ref
	}
	return base + ref
}

// joinBase resolves a BaseURL against the base outside it and returns the folder
// that it names: what follows its last slash is no part of it (RFC 3986 §5.2.3).
func joinBase(base, ref string) string {
	ref, _, _ = strings.Cut(ref, "#")
	ref, _, _ = strings.Cut(ref, "?")
	dir := ref[:strings.LastIndexByte(ref, '/')+1]
	if isAbsolute(ref) {
		return dir
	}
	return clean(base + dir)
}

// clean removes dot segments as far as they do not lead out (RFC 3986 §5.2.4).
func clean(ref string) string {
	dots := ref == "." || strings.HasSuffix(ref, "..") || strings.Contains(ref, "./") || strings.Contains(ref, "/.") || strings.Contains(ref, "//")
	if !dots || isAbsolute(ref) {
		return ref
	}
	path, tail := ref, ""
	if i := strings.IndexAny(ref, "?#"); i >= 0 {
		path, tail = ref[:i], ref[i:]
	}
	segments := strings.Split(path, "/")
	var out []string
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "." && !last, s == "" && !last && len(out) == 0:
		case s == "." || s == "" && last:
			out = append(out, "")
		case s == ".." && len(out) > 0 && out[len(out)-1] != "..":
			out = out[:len(out)-1]
			if last {
				out = append(out, "")
			}
		case s == ".." && last:
			out = append(out, "..", "")
		default:
			out = append(out, s)
		}
	}
	return strings.Join(out, "/") + tail
}

// relative spells target, a reference from the MPD, as one from the folder base.
// It fails where base climbs out of the MPD's folder and target does not take
// the same way: the way back has no name here.
func relative(base, target string) (string, bool) {
	if base == "" || isAbsolute(target) {
		return target, true
	}
	path, tail := target, ""
	if i := strings.IndexAny(target, "?#"); i >= 0 {
		path, tail = target[:i], target[i:]
	}
	from := strings.Split(strings.TrimSuffix(base, "/"), "/")
	to := strings.Split(path, "/")
	n := 0
	for n < len(from) && n < len(to)-1 && from[n] == to[n] {
		n++
	}
	var out []string
	for _, s := range from[n:] {
		if s == ".." {
			return "", false
		}
		out = append(out, "..")
	}
	ref := strings.Join(append(out, to[n:]...), "/")
	// RFC 3986 §4.2: a colon in the first segment would read as a scheme, and an
	// empty first segment as an absolute path.
	if isAbsolute(ref) || ref == "" {
		ref = "./" + ref
	}
	return ref + tail, true
}
