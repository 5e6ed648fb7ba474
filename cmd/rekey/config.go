package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/keyring"
)

// config is rekey.yaml. Flags win over REKEY_* variables, those over the file.
type config struct {
	// Media is a directory or s3://bucket/prefix.
	Media string `yaml:"media"`
	// Control holds rekey's own state. Zero: for a directory its sibling
	// <media>-control; S3 has no default.
	Control string `yaml:"control"`
	// Redis is host:port or redis://…. Zero: in this process.
	Redis string `yaml:"redis"`
	// MasterKey is the file of the local KEK. Zero: rekey/master.key in the
	// user's configuration folder.
	MasterKey string `yaml:"master_key"`
	// Handover says who gets new CENC keys before any manifest names them.
	Handover handover `yaml:"handover"`
	// Origins are the URLs at which the media root is served: absolute references
	// under them lead to its objects. Zero: none, such references are refused.
	Origins []string `yaml:"origins"`
	// External are URL prefixes outside the media root that manifests may name;
	// what is there is neither read nor changed. Zero: none.
	External []string `yaml:"external"`
	// NewKeyURI says, for each scheme, what URI a new HLS key gets whose old one
	// leads to a key server; {kid} stands for the new KID. Zero: assets with such
	// keys are refused.
	NewKeyURI templates `yaml:"new_key_uri"`
	// Policies are the planned runs of rekey schedule.
	Policies policies `yaml:"policies"`
	// Lease is how long a driver that says nothing is thought alive. Zero: 30s.
	Lease keyring.Age `yaml:"lease"`
	// Server is the URL of the rekey serve that does what needs roles. Zero: none.
	Server string `yaml:"server"`
	// SigningKey is the file of the key that signs audit checkpoints, identities
	// and approvals. It is for the machine of rekey serve alone. Zero: nothing is
	// signed here.
	SigningKey string `yaml:"signing_key"`
	// Checkpoints say where signed checkpoints go besides the control store: a
	// file, a webhook's URL, or s3://bucket/prefix.
	Checkpoints []string `yaml:"checkpoints"`
	// Webhook gets events of rekey serve, such as a compromised key that was asked
	// for outside its rotation. Zero: nobody does.
	Webhook webhookConfig `yaml:"webhook"`
	// NearExpiry is how long before its expiry a key is reported. Zero: 14d.
	NearExpiry keyring.Age `yaml:"near_expiry"`
	// KeyService makes new CENC keys or is handed them. Zero: there is none.
	KeyService keyServiceConfig `yaml:"key_service"`
	// KMS says where KEKs are. Zero: a local one.
	KMS kmsConfig `yaml:"kms"`
	// KeyLifetimes say when keys leave active use, by tag. Zero: never.
	KeyLifetimes []keyLifetime `yaml:"key_lifetimes"`
	// CompromiseWindow bounds how long after its start a rotation may open a
	// compromised key. Zero: 7d.
	CompromiseWindow keyring.Age `yaml:"compromise_window"`
}

// webhookConfig is an https URL, or http to loopback, and the file (0600) of the
// secret that bodies are signed with.
type webhookConfig struct {
	URL        string `yaml:"url"`
	SecretFile string `yaml:"secret_file"`
}

// keyLifetime is for keys that carry the tag; without one, for all.
type keyLifetime struct {
	Tag   string      `yaml:"tag"`
	After keyring.Age `yaml:"after"`
}

func (c *config) lifetimes() []keyring.Lifetime {
	var out []keyring.Lifetime
	for _, l := range c.KeyLifetimes {
		out = append(out, keyring.Lifetime{Tag: l.Tag, After: time.Duration(l.After)})
	}
	return out
}

// handover is `none`, or a command that gets KID:KEY lines on its stdin and
// acknowledges them by exiting with 0. Zero: not configured.
type handover struct {
	None    bool
	Command []string
}

// UnmarshalYAML reads `none` or a mapping with a command list.
func (h *handover) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return h.set(n.Value)
	}
	var m struct {
		Command []string `yaml:"command"`
	}
	if err := n.Decode(&m); err != nil {
		return err
	}
	if len(m.Command) == 0 || m.Command[0] == "" {
		return errors.New("handover: command is empty")
	}
	h.Command = m.Command
	return nil
}

// set reads the flag's form: none, or the path of a command without arguments.
func (h *handover) set(s string) error {
	switch s {
	case "":
		*h = handover{}
	case "none":
		*h = handover{None: true}
	default:
		*h = handover{Command: []string{s}}
	}
	return nil
}

// templates are key URIs with {kid} in them: one, or a list with one a scheme.
type templates []string

// UnmarshalYAML reads one template or a list.
func (t *templates) UnmarshalYAML(n *yaml.Node) error {
	var list []string
	if n.Kind == yaml.ScalarNode {
		list = []string{n.Value}
	} else if err := n.Decode(&list); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, s := range list {
		scheme := strings.TrimSuffix(catalog.Scheme(s), "s")
		switch {
		case scheme == "" || scheme == "data":
			return fmt.Errorf("new_key_uri: %q is no absolute URI", s)
		case !strings.Contains(s, catalog.KIDInTemplate) || strings.ContainsAny(s, "\" \t\r\n"):
			return fmt.Errorf("new_key_uri: %q has no {kid} in it, or blanks or quotes", s)
		case seen[scheme]:
			return fmt.Errorf("new_key_uri: two templates of one scheme (%s)", scheme)
		}
		seen[scheme] = true
	}
	*t = list
	return nil
}

// loadConfig reads the named file; an unnamed one may be absent.
func loadConfig(name string) (config, error) {
	var c config
	named := name != ""
	if !named {
		name = "rekey.yaml"
	}
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return c, nil
	}
	if err != nil {
		return c, usagef("read config: %v", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, usagef("read config %s: %v", name, err)
	}
	for _, l := range c.KeyLifetimes {
		if l.After <= 0 {
			return c, usagef("read config %s: key_lifetimes: tag %q has no time after which its keys expire", name, l.Tag)
		}
	}
	if err := errors.Join(c.KeyService.check(), c.Policies.check()); err != nil {
		return c, usagef("read config %s: %v", name, err)
	}
	return c, nil
}

// places fills in the defaults of media and control and keeps control out of
// the media root, which is public.
func (c *config) places() error {
	if c.Media == "" {
		return usagef("no media root: --media, REKEY_MEDIA or media: in rekey.yaml")
	}
	return c.controlPlace()
}

// controlPlace is places for commands that need no media root.
func (c *config) controlPlace() error {
	switch {
	case c.Control != "":
	case c.Media == "":
		return usagef("no media root and no control prefix: --media, REKEY_MEDIA or media: in rekey.yaml, or --control")
	case isS3(c.Media):
		return usagef("no control prefix: an S3 media root has no default; --control, REKEY_CONTROL or control: in rekey.yaml")
	default:
		c.Control = strings.TrimRight(c.Media, "/") + "-control"
	}
	if c.Media == "" {
		return nil
	}
	inside, err := within(c.Media, c.Control)
	if err != nil {
		return err
	}
	if inside {
		return usagef("control prefix %s lies inside the media root %s, which is public", c.Control, c.Media)
	}
	return nil
}

func within(media, control string) (bool, error) {
	if isS3(media) != isS3(control) {
		return false, nil
	}
	if isS3(media) {
		return strings.HasPrefix(strings.TrimRight(control, "/")+"/", strings.TrimRight(media, "/")+"/"), nil
	}
	m, err := filepath.Abs(media)
	if err != nil {
		return false, fmt.Errorf("find %s: %w", media, err)
	}
	ctl, err := filepath.Abs(control)
	if err != nil {
		return false, fmt.Errorf("find %s: %w", control, err)
	}
	return strings.HasPrefix(ctl+"/", m+"/"), nil
}

func isS3(location string) bool { return strings.HasPrefix(location, "s3://") }
