package vaulttest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Key is one transit key of type aes256-gcm96.
type Key struct {
	Kind                              string
	Latest                            int
	MinDecrypt, MinEncrypt, Available int
	DeletionAllowed, SoftDeleted      bool
	Exportable, PlainBackup, Derived  bool
	AutoRotate                        time.Duration
	versions                          map[int]version
}

type version struct {
	aead cipher.AEAD
	made int64
}

// Rotate makes another version.
func (k *Key) Rotate(now time.Time) {
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	block, err := aes.NewCipher(raw[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block) // nonce first, as transit has it
	if err != nil {
		panic(err)
	}
	k.Latest++
	k.versions[k.Latest] = version{aead, now.Unix()}
}

// rotateDue rotates what auto_rotate_period says.
func (s *Service) rotateDue() {
	for _, k := range s.Keys {
		if k.AutoRotate > 0 && !s.Clock().Before(time.Unix(k.versions[k.Latest].made, 0).Add(k.AutoRotate)) {
			k.Rotate(s.Clock())
		}
	}
}

var transitName = regexp.MustCompile(`^\w([\w.-]*\w)?$`)

// transit serves what lies under the mount.
func (s *Service) transit(capability, path string, params map[string]any) (map[string]any, error) {
	rest, ok := strings.CutPrefix(path, s.Mount+"/")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) < 2 || len(parts) > 3 || !transitName.MatchString(parts[1]) {
		return nil, refused{404, []string{fmt.Sprintf("no handler for route %q. route entry not found.", path)}}
	}
	name, writes := parts[1], capability == "update" || capability == "create"
	switch what := parts[0] + "/" + strings.Join(parts[2:], ""); {
	case what == "keys/" && capability == "read":
		if s.Keys[name] == nil {
			return nil, nothingThere()
		}
		return s.Keys[name].describe(name), nil
	case what == "keys/" && writes:
		return s.create(name, params)
	case what == "keys/" && capability == "delete":
		return nil, s.delete(name)
	case what == "keys/config" && writes:
		return s.config(name, params)
	case what == "keys/rotate" && writes:
		return s.rotate(name, params)
	case what == "encrypt/" && writes:
		return s.encrypt(name, params, capability == "create")
	case what == "decrypt/" && writes:
		return s.decrypt(name, params)
	case slices.Contains([]string{"keys/", "keys/config", "keys/rotate", "encrypt/", "decrypt/"}, what):
		return nil, unsupported()
	}
	return nil, refused{404, []string{"unsupported path"}}
}

func (k *Key) describe(name string) map[string]any {
	working := map[string]int64{}
	for v := k.MinDecrypt; v <= k.Latest; v++ { // what lies below is archived
		working[strconv.Itoa(v)] = k.versions[v].made
	}
	return map[string]any{"data": map[string]any{
		"name": name, "type": k.Kind, "derived": k.Derived, "exportable": k.Exportable, "allow_plaintext_backup": k.PlainBackup,
		"deletion_allowed": k.DeletionAllowed, "keys": working, "latest_version": k.Latest, "soft_deleted": k.SoftDeleted,
		"min_decryption_version": k.MinDecrypt, "min_encryption_version": k.MinEncrypt, "min_available_version": k.Available,
		"auto_rotate_period": int64(k.AutoRotate.Seconds()), "imported_key": false,
		"supports_encryption": true, "supports_decryption": true, "supports_derivation": true, "supports_signing": false,
	}}
}

func (s *Service) create(name string, params map[string]any) (map[string]any, error) {
	err := documented(params, map[string]string{
		"type": "string", "derived": "bool", "convergent_encryption": "bool", "exportable": "bool",
		"allow_plaintext_backup": "bool", "auto_rotate_period": "duration", "key_size": "int",
	})
	if err != nil {
		return nil, err
	}
	if k := s.Keys[name]; k != nil {
		answer := k.describe(name)
		if !s.Quiet {
			answer["warnings"] = []string{fmt.Sprintf("key %s already existed", name)}
		}
		return answer, nil
	}
	period, _ := params["auto_rotate_period"].(string)
	rotate, _ := time.ParseDuration(or(period, "0s"))
	if rotate != 0 && rotate < time.Hour {
		return nil, bad("auto rotate period must be 0 to disable or at least an hour")
	}
	kind, _ := params["type"].(string)
	k := &Key{Kind: or(kind, "aes256-gcm96"), versions: map[int]version{}, MinDecrypt: 1, AutoRotate: rotate}
	if k.Kind != "aes256-gcm96" {
		return nil, bad("unknown key type %v", kind)
	}
	k.Exportable, _ = params["exportable"].(bool)
	k.PlainBackup, _ = params["allow_plaintext_backup"].(bool)
	k.Rotate(s.Clock())
	s.Keys[name] = k
	return k.describe(name), nil
}

// MakeKey makes a key as another caller would, within Set or Fault.
func (s *Service) MakeKey(name string) {
	if _, err := s.create(name, nil); err != nil {
		panic(err) // no parameters: none can be wrong
	}
}

func or(v, zero string) string {
	if v == "" {
		return zero
	}
	return v
}

func (s *Service) delete(name string) error {
	k := s.Keys[name]
	switch {
	case k == nil:
		return bad("error deleting policy %s: could not delete key; not found", name)
	case !k.DeletionAllowed:
		return bad("error deleting policy %s: deletion is not allowed for this policy", name)
	}
	delete(s.Keys, name)
	return nil
}

func (s *Service) config(name string, params map[string]any) (map[string]any, error) {
	err := documented(params, map[string]string{
		"min_decryption_version": "int", "min_encryption_version": "int", "deletion_allowed": "bool",
		"exportable": "bool", "allow_plaintext_backup": "bool", "auto_rotate_period": "duration",
	})
	if err != nil {
		return nil, err
	}
	k := s.Keys[name]
	if k == nil {
		return nil, bad("no existing key named %s could be found", name)
	}
	c := *k
	for field, to := range map[string]*int{"min_decryption_version": &c.MinDecrypt, "min_encryption_version": &c.MinEncrypt} {
		if v, ok := params[field].(json.Number); ok {
			n, _ := v.Int64()
			if n < 0 || int(n) > k.Latest {
				return nil, bad("cannot set %s of %d, latest key version is %d", field, n, k.Latest)
			}
			*to = int(n)
		}
	}
	c.MinDecrypt = max(c.MinDecrypt, 1)
	if c.MinEncrypt > 0 && c.MinEncrypt < c.MinDecrypt {
		return nil, bad("cannot set min encryption/decryption values; min encryption version of %d must be greater than or equal to min decryption version of %d", c.MinEncrypt, c.MinDecrypt)
	}
	if c.Available > c.MinEncrypt || c.Available > c.MinDecrypt {
		return nil, bad("min encryption version should not be less than min available version")
	}
	if v, ok := params["deletion_allowed"].(bool); ok {
		c.DeletionAllowed = v
	}
	if v, ok := params["auto_rotate_period"].(string); ok {
		c.AutoRotate, _ = time.ParseDuration(v)
	}
	*k = c
	return k.describe(name), nil
}

func (s *Service) rotate(name string, params map[string]any) (map[string]any, error) {
	if err := documented(params, nil); err != nil {
		return nil, err
	}
	k := s.Keys[name]
	switch {
	case k == nil:
		return nil, bad("key not found")
	case k.SoftDeleted:
		return nil, bad("refusing to use soft-deleted key")
	}
	k.Rotate(s.Clock())
	return k.describe(name), nil
}

// base64Of reads a parameter.
func base64Of(params map[string]any, name string) ([]byte, error) {
	text, _ := params[name].(string)
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, bad("%s: %v", name, err)
	}
	return b, nil
}

func (s *Service) encrypt(name string, params map[string]any, upsert bool) (map[string]any, error) {
	err := documented(params, map[string]string{
		"plaintext": "string", "associated_data": "string", "key_version": "int", "convergent_encryption": "bool",
		"context": "string", "nonce": "string", "type": "string",
	})
	if err != nil {
		return nil, err
	}
	if upsert {
		if convergent, _ := params["convergent_encryption"].(bool); convergent && params["context"] == nil {
			return nil, bad("convergent encryption requires derivation to be enabled, so context is required")
		}
		if _, err := s.create(name, nil); err != nil {
			return nil, err
		}
	}
	k := s.Keys[name]
	plain, err := base64Of(params, "plaintext")
	if err != nil || params["plaintext"] == nil {
		return nil, bad("missing plaintext to encrypt: %v", err)
	}
	version := k.Latest
	if v, ok := params["key_version"].(json.Number); ok && v != "0" {
		n, _ := v.Int64()
		version = int(n)
	}
	switch {
	case k.SoftDeleted:
		return nil, bad("refusing to use soft-deleted key")
	case version < 0 || version > k.Latest:
		return nil, bad("requested version for encryption is higher than the latest key version")
	case version < k.MinEncrypt:
		return nil, bad("requested version for encryption is less than the minimum encryption key version")
	case version < k.MinDecrypt:
		return nil, bad("no such key version")
	}
	aad, err := s.associated(params)
	if err != nil {
		return nil, err
	}
	sealed := k.versions[version].aead.Seal(nil, nil, plain, aad)
	return map[string]any{"data": map[string]any{
		"ciphertext": fmt.Sprintf("vault:v%d:%s", version, base64.StdEncoding.EncodeToString(sealed)), "key_version": version,
	}}, nil
}

func (s *Service) associated(params map[string]any) ([]byte, error) {
	if s.IgnoresAAD {
		return nil, nil
	}
	return base64Of(params, "associated_data")
}

func (s *Service) decrypt(name string, params map[string]any) (map[string]any, error) {
	err := documented(params, map[string]string{"ciphertext": "string", "associated_data": "string", "context": "string", "nonce": "string"})
	if err != nil {
		return nil, err
	}
	text, _ := params["ciphertext"].(string)
	k := s.Keys[name]
	switch {
	case text == "":
		return nil, bad("missing ciphertext to decrypt")
	case k == nil:
		return nil, bad("encryption key not found")
	case k.SoftDeleted:
		return nil, bad("refusing to use soft-deleted key")
	}
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 || parts[0] != "vault" || !strings.HasPrefix(parts[1], "v") {
		return nil, bad("invalid ciphertext: no prefix")
	}
	version, err := strconv.Atoi(parts[1][1:])
	sealed, err2 := base64.StdEncoding.DecodeString(parts[2])
	switch {
	case err != nil || err2 != nil:
		return nil, bad("invalid ciphertext: could not decode base64")
	case !slices.Contains(slices.Collect(maps.Keys(k.versions)), version):
		return nil, bad("invalid ciphertext: version is too new")
	case version < k.MinDecrypt:
		return nil, bad("ciphertext or signature version is disallowed by policy (too old)")
	}
	aad, err := s.associated(params)
	if err != nil {
		return nil, err
	}
	plain, err := k.versions[version].aead.Open(nil, nil, sealed, aad)
	if err != nil {
		return nil, bad("cipher: message authentication failed")
	}
	return map[string]any{"data": map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)}}, nil
}
