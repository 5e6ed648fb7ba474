package vault_test

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

// fakeKey is one transit key of type aes256-gcm96.
type fakeKey struct {
	kind                              string
	versions                          map[int]fakeVersion
	latest                            int
	minDecrypt, minEncrypt, available int
	deletionAllowed, softDeleted      bool
	exportable, plainBackup, derived  bool
	autoRotate                        time.Duration
}

type fakeVersion struct {
	aead cipher.AEAD
	made int64
}

func (k *fakeKey) rotate(now time.Time) {
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
	k.latest++
	k.versions[k.latest] = fakeVersion{aead, now.Unix()}
}

// rotateDue rotates what auto_rotate_period says.
func (s *service) rotateDue() {
	for _, k := range s.keys {
		if k.autoRotate > 0 && !s.clock().Before(time.Unix(k.versions[k.latest].made, 0).Add(k.autoRotate)) {
			k.rotate(s.clock())
		}
	}
}

var transitName = regexp.MustCompile(`^\w([\w.-]*\w)?$`)

// transit serves what lies under the mount.
func (s *service) transit(capability, path string, params map[string]any) (map[string]any, error) {
	rest, ok := strings.CutPrefix(path, s.mount+"/")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) < 2 || len(parts) > 3 || !transitName.MatchString(parts[1]) {
		return nil, refused{404, []string{fmt.Sprintf("no handler for route %q. route entry not found.", path)}}
	}
	name, writes := parts[1], capability == "update" || capability == "create"
	switch what := parts[0] + "/" + strings.Join(parts[2:], ""); {
	case what == "keys/" && capability == "read":
		if s.keys[name] == nil {
			return nil, nothingThere
		}
		return s.keys[name].describe(name), nil
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
		return nil, unsupported
	}
	return nil, refused{404, []string{"unsupported path"}}
}

func (k *fakeKey) describe(name string) map[string]any {
	working := map[string]int64{}
	for v := k.minDecrypt; v <= k.latest; v++ { // what lies below is archived
		working[strconv.Itoa(v)] = k.versions[v].made
	}
	return map[string]any{"data": map[string]any{
		"name": name, "type": k.kind, "derived": k.derived, "exportable": k.exportable, "allow_plaintext_backup": k.plainBackup,
		"deletion_allowed": k.deletionAllowed, "keys": working, "latest_version": k.latest, "soft_deleted": k.softDeleted,
		"min_decryption_version": k.minDecrypt, "min_encryption_version": k.minEncrypt, "min_available_version": k.available,
		"auto_rotate_period": int64(k.autoRotate.Seconds()), "imported_key": false,
		"supports_encryption": true, "supports_decryption": true, "supports_derivation": true, "supports_signing": false,
	}}
}

func (s *service) create(name string, params map[string]any) (map[string]any, error) {
	err := documented(params, map[string]string{
		"type": "string", "derived": "bool", "convergent_encryption": "bool", "exportable": "bool",
		"allow_plaintext_backup": "bool", "auto_rotate_period": "duration", "key_size": "int",
	})
	if err != nil {
		return nil, err
	}
	if k := s.keys[name]; k != nil {
		answer := k.describe(name)
		if !s.quiet {
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
	k := &fakeKey{kind: or(kind, "aes256-gcm96"), versions: map[int]fakeVersion{}, minDecrypt: 1, autoRotate: rotate}
	if k.kind != "aes256-gcm96" {
		return nil, bad("unknown key type %v", kind)
	}
	k.exportable, _ = params["exportable"].(bool)
	k.plainBackup, _ = params["allow_plaintext_backup"].(bool)
	k.rotate(s.clock())
	s.keys[name] = k
	return k.describe(name), nil
}

func or(v, zero string) string {
	if v == "" {
		return zero
	}
	return v
}

func (s *service) delete(name string) error {
	k := s.keys[name]
	switch {
	case k == nil:
		return bad("error deleting policy %s: could not delete key; not found", name)
	case !k.deletionAllowed:
		return bad("error deleting policy %s: deletion is not allowed for this policy", name)
	}
	delete(s.keys, name)
	return nil
}

func (s *service) config(name string, params map[string]any) (map[string]any, error) {
	err := documented(params, map[string]string{
		"min_decryption_version": "int", "min_encryption_version": "int", "deletion_allowed": "bool",
		"exportable": "bool", "allow_plaintext_backup": "bool", "auto_rotate_period": "duration",
	})
	if err != nil {
		return nil, err
	}
	k := s.keys[name]
	if k == nil {
		return nil, bad("no existing key named %s could be found", name)
	}
	c := *k
	for field, to := range map[string]*int{"min_decryption_version": &c.minDecrypt, "min_encryption_version": &c.minEncrypt} {
		if v, ok := params[field].(json.Number); ok {
			n, _ := v.Int64()
			if n < 0 || int(n) > k.latest {
				return nil, bad("cannot set %s of %d, latest key version is %d", field, n, k.latest)
			}
			*to = int(n)
		}
	}
	c.minDecrypt = max(c.minDecrypt, 1)
	if c.minEncrypt > 0 && c.minEncrypt < c.minDecrypt {
		return nil, bad("cannot set min encryption/decryption values; min encryption version of %d must be greater than or equal to min decryption version of %d", c.minEncrypt, c.minDecrypt)
	}
	if c.available > c.minEncrypt || c.available > c.minDecrypt {
		return nil, bad("min encryption version should not be less than min available version")
	}
	if v, ok := params["deletion_allowed"].(bool); ok {
		c.deletionAllowed = v
	}
	if v, ok := params["auto_rotate_period"].(string); ok {
		c.autoRotate, _ = time.ParseDuration(v)
	}
	*k = c
	return k.describe(name), nil
}

func (s *service) rotate(name string, params map[string]any) (map[string]any, error) {
	if err := documented(params, nil); err != nil {
		return nil, err
	}
	k := s.keys[name]
	switch {
	case k == nil:
		return nil, bad("key not found")
	case k.softDeleted:
		return nil, bad("refusing to use soft-deleted key")
	}
	k.rotate(s.clock())
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

func (s *service) encrypt(name string, params map[string]any, upsert bool) (map[string]any, error) {
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
	k := s.keys[name]
	plain, err := base64Of(params, "plaintext")
	if err != nil || params["plaintext"] == nil {
		return nil, bad("missing plaintext to encrypt: %v", err)
	}
	version := k.latest
	if v, ok := params["key_version"].(json.Number); ok && v != "0" {
		n, _ := v.Int64()
		version = int(n)
	}
	switch {
	case k.softDeleted:
		return nil, bad("refusing to use soft-deleted key")
	case version < 0 || version > k.latest:
		return nil, bad("requested version for encryption is higher than the latest key version")
	case version < k.minEncrypt:
		return nil, bad("requested version for encryption is less than the minimum encryption key version")
	case version < k.minDecrypt:
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

func (s *service) associated(params map[string]any) ([]byte, error) {
	if s.ignoresAAD {
		return nil, nil
	}
	return base64Of(params, "associated_data")
}

func (s *service) decrypt(name string, params map[string]any) (map[string]any, error) {
	err := documented(params, map[string]string{"ciphertext": "string", "associated_data": "string", "context": "string", "nonce": "string"})
	if err != nil {
		return nil, err
	}
	text, _ := params["ciphertext"].(string)
	k := s.keys[name]
	switch {
	case text == "":
		return nil, bad("missing ciphertext to decrypt")
	case k == nil:
		return nil, bad("encryption key not found")
	case k.softDeleted:
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
	case version < k.minDecrypt:
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
