package watch

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const alertsFolder = "../deploy/alerts"

// promtool runs it: the one in PATH, or the one that scripts/tools.sh put in the
// cache.
func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		cache, cacheErr := os.UserCacheDir()
		path = filepath.Join(cache, "rekey", "bin", "promtool")
		if _, err := os.Stat(path); cacheErr != nil || err != nil {
			t.Fatal("promtool is missing: make tools")
		}
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return string(out), err
}

type alertRule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

type ruleGroup struct {
	Name     string      `yaml:"name"`
	Interval string      `yaml:"interval"`
	Rules    []alertRule `yaml:"rules"`
}

type ruleFile struct {
	Groups []ruleGroup `yaml:"groups"`
}

func readRules(t *testing.T) ruleFile {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(alertsFolder, "rekey.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var f ruleFile
	if err := yaml.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Groups) != 1 || len(f.Groups[0].Rules) < 8 {
		t.Fatalf("%d groups of rules", len(f.Groups))
	}
	return f
}

// TestAlertRules: promtool takes the rules, and they do what their tests say.
func TestAlertRules(t *testing.T) {
	if out, err := promtool(t, "check", "rules", filepath.Join(alertsFolder, "rekey.rules.yml")); err != nil {
		t.Errorf("check rules: %v\n%s", err, out)
	}
	if out, err := promtool(t, "test", "rules", filepath.Join(alertsFolder, "rekey.test.yml")); err != nil {
		t.Errorf("test rules: %v\n%s", err, out)
	}
}

// TestAlertTestsCanFail: where an alert never fires, or always does, the rules'
// tests fail because of that alert.
func TestAlertTestsCanFail(t *testing.T) {
	tests, err := os.ReadFile(filepath.Join(alertsFolder, "rekey.test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for expr, never := range map[string]bool{"vector(0) > 1": true, "vector(1)": false} {
		f := readRules(t)
		rules := f.Groups[0].Rules
		for i := range rules {
			rules[i].Expr, rules[i].For = expr, ""
		}
		b, err := yaml.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		test := filepath.Join(dir, "rekey.test.yml")
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "rekey.rules.yml"), b, 0o600), os.WriteFile(test, tests, 0o600)); err != nil {
			t.Fatal(err)
		}
		out, err := promtool(t, "test", "rules", test)
		if err == nil {
			t.Errorf("with %s everywhere the tests pass", expr)
		}
		missed, extra := failures(out)
		for _, r := range rules {
			if never && !missed[r.Alert] {
				t.Errorf("%s never fires, and no test misses it:\n%s", r.Alert, out)
			}
			if !never && !extra[r.Alert] {
				t.Errorf("%s always fires, and no test finds it too much:\n%s", r.Alert, out)
			}
		}
	}
}

// failures reads what promtool says: which alerts were expected and did not come,
// and which came and were not expected.
func failures(out string) (missed, extra map[string]bool) {
	missed, extra = map[string]bool{}, map[string]bool{}
	name := regexp.MustCompile(`alertname="([A-Za-z]+)"`)
	for _, failure := range strings.Split(out, "expr:")[1:] {
		_, rest, _ := strings.Cut(failure, "exp:")
		expected, got, _ := strings.Cut(rest, "got:")
		for _, m := range name.FindAllStringSubmatch(expected, -1) {
			if !strings.Contains(got, m[0]) {
				missed[m[1]] = true
			}
		}
		for _, m := range name.FindAllStringSubmatch(got, -1) {
			if !strings.Contains(expected, m[0]) {
				extra[m[1]] = true
			}
		}
	}
	return missed, extra
}

// TestAlertsAreComplete: what a person needs is with every alert, and every event
// has an alert or a metric that one is made of.
func TestAlertsAreComplete(t *testing.T) {
	all := ""
	for _, r := range readRules(t).Groups[0].Rules {
		all += r.Expr + "\n"
		if s := r.Labels["severity"]; s != Critical && s != Warning {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		for _, a := range []string{"summary", "description", "runbook"} {
			if r.Annotations[a] == "" {
				t.Errorf("%s: no %s", r.Alert, a)
			}
		}
	}
	by := map[string]string{
		CompromisedUnwrap: `event="compromised-unwrap"`, RefusedBurst: "rekey_refused_total", NewOrigin: `event="new-origin"`,
		KeysNearExpiry: "rekey_keys_near_expiry", KeysExpired: "rekey_keys_expired", KMSErrors: "rekey_kms_errors_total",
		CheckpointLate: "rekey_unsequenced_since_timestamp_seconds", AuditUnreadable: `event="audit-unreadable"`,
	}
	for _, e := range Events() {
		if by[e] == "" || !strings.Contains(all, by[e]) {
			t.Errorf("no alert tells of %s", e)
		}
	}
}

// TestAlertMetricsExist: every metric, label and value in the rules and their
// tests is one that the package exports.
func TestAlertMetricsExist(t *testing.T) {
	w, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	families, err := w.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]map[string][]string{} // name, label, values
	for _, f := range families {
		labels := map[string][]string{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
			}
		}
		exported[f.GetName()] = labels
	}
	for _, name := range []string{"rekey.rules.yml", "rekey.test.yml"} {
		b, err := os.ReadFile(filepath.Join(alertsFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		if n := checkMetrics(t, string(b), exported); n < 12 {
			t.Errorf("%s: %d metrics found", name, n)
		}
	}
}

func checkMetrics(t *testing.T, text string, exported map[string]map[string][]string) (found int) {
	t.Helper()
	metric := regexp.MustCompile(`\b(rekey_[a-z_]+)(?:\{([^}]*)\})?`)
	label := regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"([^"]*)"`)
	for _, m := range metric.FindAllStringSubmatch(text, -1) {
		found++
		labels, ok := exported[m[1]]
		if !ok {
			t.Errorf("metric %s is not exported", m[1])
			continue
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if l[1] == "instance" { // Prometheus adds it
				continue
			}
			for v := range strings.SplitSeq(l[2], "|") {
				if !slices.Contains(labels[l[1]], v) {
					t.Errorf("%s never has %s=%q", m[1], l[1], v)
				}
			}
		}
	}
	return found
}
