package aws_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// policy is an identity-based IAM policy, as far as those of rekey go
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
type policy struct {
	Version   string
	Statement []statement
}

type statement struct {
	Sid, Effect      string
	Action, Resource []string
	Condition        map[string]map[string][]string
}

// readPolicies reads one policy for each role, and takes nothing it does not
// know.
func readPolicies(t *testing.T) map[string]*policy {
	t.Helper()
	files, err := filepath.Glob("policies/*")
	if err != nil || len(files) != len(duties) {
		t.Fatalf("%d files in policies, %v; want %d", len(files), err, len(duties))
	}
	policies := map[string]*policy{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var p policy
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&p); err != nil || d.More() {
			t.Fatalf("%s: %v", file, err)
		}
		if err := p.check(); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(b) > 6144 { // the quota of a managed policy, white space left out
			t.Errorf("%s: %d bytes", file, len(b))
		}
		policies[strings.TrimSuffix(filepath.Base(file), ".json")] = &p
	}
	return policies
}

var sid = regexp.MustCompile(`^[A-Za-z0-9]+$`)

func (p *policy) check() error {
	if p.Version != "2012-10-17" || len(p.Statement) == 0 {
		return fmt.Errorf("version %q, %d statements", p.Version, len(p.Statement))
	}
	for _, s := range p.Statement {
		if s.Effect != "Allow" || !sid.MatchString(s.Sid) || len(s.Action) == 0 || len(s.Resource) == 0 {
			return fmt.Errorf("statement %+v", s)
		}
		for _, a := range s.Action {
			if !strings.HasPrefix(a, "kms:") || strings.Contains(a, "*") {
				return fmt.Errorf("%s: action %q", s.Sid, a)
			}
		}
		for op := range s.Condition {
			if operators[op] == nil {
				return fmt.Errorf("%s: condition operator %q is not known", s.Sid, op)
			}
		}
	}
	return nil
}

// actions are those that a policy names, each once.
func (p *policy) actions() []string {
	var all []string
	for _, s := range p.Statement {
		for _, a := range s.Action {
			all = append(all, strings.TrimPrefix(a, "kms:"))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// without is a copy that leaves an action out.
func (p *policy) without(action string) *policy {
	q := &policy{Version: p.Version}
	for _, s := range p.Statement {
		s.Action = slices.DeleteFunc(slices.Clone(s.Action), func(a string) bool { return a == "kms:"+action })
		q.Statement = append(q.Statement, s)
	}
	return q
}

// operators of conditions; what a request does not hold has no values.
var operators = map[string]func(have, want []string) bool{
	"StringEquals": func(have, want []string) bool {
		return len(have) == 1 && slices.Contains(want, have[0])
	},
	"ForAllValues:StringEquals": func(have, want []string) bool {
		return !slices.ContainsFunc(have, func(v string) bool { return !slices.Contains(want, v) })
	},
	"Null": func(have, want []string) bool {
		return slices.Contains(want, fmt.Sprint(len(have) == 0))
	},
}

func (p *policy) allows(action, resource string, keys map[string][]string) bool {
	return slices.ContainsFunc(p.Statement, func(s statement) bool {
		if !slices.Contains(s.Action, "kms:"+action) || !slices.ContainsFunc(s.Resource, func(r string) bool { return globs(r, resource) }) {
			return false
		}
		for op, conditions := range s.Condition {
			for name, want := range conditions {
				if !operators[op](keys[name], filled(want, keys)) {
					return false
				}
			}
		}
		return true
	})
}

// filled puts the caller's account in place of its variable.
func filled(values []string, keys map[string][]string) []string {
	out := slices.Clone(values)
	for i, v := range out {
		if v == "${aws:PrincipalAccount}" {
			out[i] = keys["aws:PrincipalAccount"][0]
		}
	}
	return out
}

func globs(pattern, s string) bool {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$").MatchString(s)
}

// denies is AWS's answer to a call that the policy does not allow. A name that
// leads nowhere is looked up before permissions are.
func (s *service) denies(r *request) *answer {
	if s.policy == nil {
		return nil
	}
	keys := map[string][]string{"aws:PrincipalAccount": {s.Account}}
	var resources []string
	switch r.action {
	case "CreateKey":
		resources = []string{"*"}
		for name, field := range map[string]string{"kms:KeySpec": "KeySpec", "kms:KeyUsage": "KeyUsage", "kms:KeyOrigin": "Origin"} {
			keys[name] = []string{r.text(field)}
		}
	case "CreateAlias":
		keys["aws:ResourceAccount"] = []string{s.Account}
		resources = []string{fmt.Sprintf("arn:aws:kms:%s:%s:%s", s.Region, s.Account, r.text("AliasName")), r.text("TargetKeyId")}
	default:
		m := s.metadata(r.text("KeyId"))
		if m == nil {
			return nil
		}
		arn, _ := m["Arn"].(string)
		resources = []string{arn}
		keys["aws:ResourceAccount"] = []string{strings.Split(arn, ":")[4]}
		s.describes(keys, r, arn)
	}
	for _, resource := range resources {
		if !s.policy.allows(r.action, resource, keys) {
			return awsError("AccessDeniedException", fmt.Sprintf("User: arn:aws:iam::%s:user/role is not authorized to perform: kms:%s on resource: %s because no identity-based policy allows the kms:%s action",
				s.Account, r.action, resource, r.action))
		}
	}
	return nil
}

// describes fills in the condition keys of an operation on a key
// (https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html).
func (s *service) describes(keys map[string][]string, r *request, arn string) {
	context, _ := r.body["EncryptionContext"].(map[string]any)
	for name, value := range context {
		keys["kms:EncryptionContext:"+name] = []string{fmt.Sprint(value)}
		keys["kms:EncryptionContextKeys"] = append(keys["kms:EncryptionContextKeys"], name)
	}
	aliases, _ := s.about("ListAliases", map[string]any{"KeyId": arn})["Aliases"].([]any)
	for _, a := range aliases {
		if m, ok := a.(map[string]any); ok {
			keys["kms:ResourceAliases"] = append(keys["kms:ResourceAliases"], fmt.Sprint(m["AliasName"]))
		}
	}
}
