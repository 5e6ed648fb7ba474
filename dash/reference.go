package dash

import "strings"

// anatomy cuts a reference into what names the server (scheme and authority, or
// either; empty in a relative reference), the path, and what follows it (RFC 3986
// appendix B).
func anatomy(ref string) (head, path, tail string) {
	n := 0
	if i := strings.IndexAny(ref, ":/?#"); i > 0 && ref[i] == ':' && isScheme(ref[:i]) {
		n = i + 1
	}
	if strings.HasPrefix(ref[n:], "//") {
		n += len("//")
		if i := strings.IndexAny(ref[n:], "/?#"); i >= 0 {
			n += i
		} else {
			n = len(ref)
		}
	}
	head, path = ref[:n], ref[n:]
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path, tail = path[:i], path[i:]
	}
	return head, path, tail
}

// isScheme reports ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) (RFC 3986 §3.1).
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !(s[i] >= '0' && s[i] <= '9' || s[i] == '+' || s[i] == '-' || s[i] == '.')) {
			return false
		}
	}
	return s != ""
}

// isAbsolute reports a reference that no folder changes: one with a scheme (RFC
// 3986 §3.1) or an absolute or network path (§4.2).
func isAbsolute(ref string) bool {
	head, path, _ := anatomy(ref)
	return head != "" || strings.HasPrefix(path, "/")
}

// join resolves ref against base, which is empty or ends in a slash (RFC 3986
// §5.2.2; dot segments stay).
func join(base, ref string) string {
	head, path, _ := anatomy(ref)
	outer, _, _ := anatomy(base)
	switch {
	case strings.HasPrefix(head, "//"):
		return outer[:strings.IndexByte(outer, ':')+1] + ref
	case head != "":
		return ref
	case strings.HasPrefix(path, "/"):
		return outer + ref
	default:
		return base + ref
	}
}

// joinBase resolves a BaseURL against the base outside it and returns the folder
// that it names: what follows its last slash is no part of it (RFC 3986 §5.2.3).
func joinBase(base, ref string) string {
	if i := strings.IndexAny(ref, "?#"); i >= 0 {
		ref = ref[:i]
	}
	head, path, _ := anatomy(join(base, ref))
	if path == "" && head != "" {
		path = "/"
	}
	return head + cleanPath(path[:strings.LastIndexByte(path, '/')+1])
}

// clean removes dot segments as far as they do not lead out (RFC 3986 §5.2.4).
func clean(ref string) string {
	if !strings.Contains(ref, "./") && !strings.Contains(ref, "/.") && !strings.Contains(ref, "//") &&
		ref != "." && !strings.HasSuffix(ref, "..") {
		return ref
	}
	head, path, tail := anatomy(ref)
	return head + cleanPath(path) + tail
}

func cleanPath(path string) string {
	path, rooted := strings.CutPrefix(path, "/")
	segments := strings.Split(path, "/")
	var out []string
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "." && !last, s == "" && !last && len(out) == 0 && !rooted:
		case s == "." || s == "" && last:
			out = append(out, "")
		case s == ".." && (len(out) > 0 && out[len(out)-1] != ".." || rooted):
			out = out[:max(len(out)-1, 0)]
			if last {
				out = append(out, "")
			}
		case s == ".." && last:
			out = append(out, "..", "")
		default:
			out = append(out, s)
		}
	}
	if rooted {
		return "/" + strings.Join(out, "/")
	}
	return strings.Join(out, "/")
}

// relative spells target as a reference from the folder base. It fails where base
// climbs out of the MPD's folder and target does not take the same way: the way
// back has no name here; and where base is absolute and target is not.
func relative(base, target string) (string, bool) {
	outer, from, _ := anatomy(base)
	head, path, tail := anatomy(target)
	rooted := strings.HasPrefix(path, "/")
	switch {
	case base == "" || head != outer && head != "":
		return target, true
	case rooted && (head != outer || !strings.HasPrefix(from, "/")):
		return target, true // an absolute path, on whatever server
	case isAbsolute(base) && !rooted:
		return "", false
	}
	ref, ok := walk(strings.TrimPrefix(from, "/"), strings.TrimPrefix(path, "/"))
	// RFC 3986 §4.2: a colon in the first segment would read as a scheme, and an
	// empty first segment as an absolute path.
	if ok && (isAbsolute(ref) || ref == "") {
		ref = "./" + ref
	}
	return ref + tail, ok
}

// walk is the way from a folder to a path, both below the same place.
func walk(folder, path string) (string, bool) {
	from := strings.Split(strings.TrimSuffix(folder, "/"), "/")
	if folder == "" {
		from = nil
	}
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
	return strings.Join(append(out, to[n:]...), "/"), true
}

// spellAs spells target in the manner of the reference old: absolute, without
// the scheme, as an absolute path, or from the folder base.
func spellAs(old, base, target string) (string, bool) {
	was, wasPath, _ := anatomy(old)
	head, path, _ := anatomy(target)
	switch {
	case strings.HasPrefix(was, "//") && head != "":
		return target[strings.IndexByte(head, '/'):], true
	case was != "" && head != "":
		return target, true
	case was == "" && strings.HasPrefix(wasPath, "/") && strings.HasPrefix(path, "/"):
		if outer, _, _ := anatomy(base); outer == head {
			return target[len(head):], true
		}
	}
	return relative(base, target)
}

// namesObject reports a reference whose path ends in a name: not one to a folder,
// nor one that is only a query and so means the MPD or the BaseURL itself.
func namesObject(ref string) bool {
	_, path, _ := anatomy(ref)
	path = cleanPath(path)
	return path != "" && !strings.HasSuffix(path, "/")
}
