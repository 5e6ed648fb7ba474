package vault_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// acl is a policy, by path
// (https://developer.hashicorp.com/vault/docs/concepts/policies).
type acl map[string]*aclRule

type aclRule struct {
	capabilities []string
	// params are the values that allowed_parameters lets through; no value: all.
	// Nil: nothing is said of parameters.
	params map[string][]string
}

// allows finds the most specific path and asks it.
func (a acl) allows(capability, path string, params map[string]any) (rule string, ok bool) {
	for pattern := range a {
		if matches(pattern, path) && (rule == "" || lower(rule, pattern)) {
			rule = pattern
		}
	}
	r := a[rule]
	if r == nil || !slices.Contains(r.capabilities, capability) {
		return rule, false
	}
	for name, v := range params {
		values, listed := r.params[name]
		if r.params != nil && (!listed || len(values) > 0 && !slices.Contains(values, fmt.Sprint(v))) {
			return rule, false
		}
	}
	return rule, true
}

// matches: + is a segment, * at the end anything.
func matches(pattern, path string) bool {
	glob := strings.HasSuffix(pattern, "*")
	expr := regexp.QuoteMeta(strings.TrimSuffix(pattern, "*"))
	expr = "^" + strings.ReplaceAll(expr, `\+`, `[^/]+`)
	if !glob {
		expr += "$"
	}
	return regexp.MustCompile(expr).MatchString(path)
}

// lower are the five rules of "Priority matching".
func lower(p1, p2 string) bool {
	first := func(p string) int {
		if i := strings.IndexAny(p, "+*"); i >= 0 {
			return i
		}
		return len(p) + 1<<20
	}
	glob := func(p string) bool { return strings.HasSuffix(p, "*") }
	switch {
	case first(p1) != first(p2):
		return first(p1) < first(p2)
	case glob(p1) != glob(p2):
		return glob(p1)
	case strings.Count(p1, "+") != strings.Count(p2, "+"):
		return strings.Count(p1, "+") > strings.Count(p2, "+")
	case len(p1) != len(p2):
		return len(p1) < len(p2)
	}
	return p1 < p2
}

func TestPriorityMatching(t *testing.T) {
	for _, tt := range [][2]string{ // the higher one last
		{"secret/+/+/foo/*", "secret/*"}, // the documentation's own example
		{"transit/keys/+/config", "transit/keys/rekey-destroy.*"},
		{"transit/keys/*", "transit/keys/a"},
		{"transit/+", "transit/+/config"},
	} {
		if !lower(tt[0], tt[1]) || lower(tt[1], tt[0]) {
			t.Errorf("%s is not lower than %s", tt[0], tt[1])
		}
	}
}

var (
	hclPath = regexp.MustCompile(`^path "([^"]+)" \{$`)
	hclList = regexp.MustCompile(`^  capabilities = \[((?:"[a-z]+"(?:, )?)+)\]$`)
	hclParm = regexp.MustCompile(`^    "([a-z_]+)" = \[((?:"[^"]*"(?:, )?)*)\]$`)
	hclWord = regexp.MustCompile(`"([^"]*)"`)
)

func words(list string) (all []string) {
	for _, m := range hclWord.FindAllStringSubmatch(list, -1) {
		all = append(all, m[1])
	}
	return all
}

// readACL reads the part of HCL that the policies are written in, and nothing
// else.
func readACL(t *testing.T, file string) acl {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a, r := acl{}, (*aclRule)(nil)
	inParams := false
	for n, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		path, list, param := hclPath.FindStringSubmatch(line), hclList.FindStringSubmatch(line), hclParm.FindStringSubmatch(line)
		switch {
		case r == nil && (line == "" || strings.HasPrefix(line, "#")):
		case r == nil && path != nil && a[path[1]] == nil:
			r = &aclRule{}
			a[path[1]] = r
		case r != nil && list != nil && r.capabilities == nil:
			r.capabilities = words(list[1])
		case r != nil && line == "  allowed_parameters = {" && r.params == nil:
			r.params, inParams = map[string][]string{}, true
		case inParams && param != nil:
			r.params[param[1]] = words(param[2])
		case inParams && line == "  }":
			inParams = false
		case r != nil && !inParams && line == "}" && len(r.capabilities) > 0:
			r = nil
		default:
			t.Fatalf("%s:%d: %q", file, n+1, line)
		}
	}
	if r != nil || len(a) == 0 {
		t.Fatalf("%s ends within a path, or has none", file)
	}
	return a
}
