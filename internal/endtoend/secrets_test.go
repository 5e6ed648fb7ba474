package endtoend

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
)

// secret is one key and the forms in which it could leak.
type secret struct {
	name  string
	forms map[string][]byte
}

func secretOf(name string, raw []byte) secret {
	f := map[string][]byte{
		"raw": raw, "hex": []byte(hex.EncodeToString(raw)), "HEX": []byte(strings.ToUpper(hex.EncodeToString(raw))),
	}
	// In the middle of something larger, base64 has three alignments; the
	// characters that the neighbours take part in are left out.
	for shift := range 3 {
		padded := append(make([]byte, shift), raw...)
		first, last := (shift*8+5)/6, (len(padded)*8)/6
		f[fmt.Sprintf("base64+%d", shift)] = []byte(base64.RawStdEncoding.EncodeToString(padded)[first:last])
		f[fmt.Sprintf("base64url+%d", shift)] = []byte(base64.RawURLEncoding.EncodeToString(padded)[first:last])
	}
	return secret{name: name, forms: f}
}

// leaks searches a text for keys.
func leaks(secrets []secret, where string, b []byte) []string {
	var found []string
	for _, s := range secrets {
		for form, needle := range s.forms {
			if bytes.Contains(b, needle) {
				found = append(found, fmt.Sprintf("%s holds key %s (%s)", where, s.name, form))
			}
		}
	}
	return found
}

// secretsOf are the old and the new keys of a planned rotation.
func secretsOf(t *testing.T, ctx context.Context, e *rotation.Engine, id string) ([]secret, map[string]bool) {
	t.Helper()
	allowed := map[string]bool{}
	seen := map[key.KID]bool{}
	var out []secret
	for p, err := range e.Journal().Plans(ctx, id) {
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Keys {
			if c.Object != nil {
				allowed[c.Object.From], allowed[c.Object.To] = true, true
			}
			for _, kid := range []key.KID{c.OldKID, c.NewKID} {
				if seen[kid] {
					continue
				}
				seen[kid] = true
				k, err := e.Ring.Unwrap(ctx, kid, keyring.Deliver, "")
				if err != nil {
					t.Fatal(err)
				}
				raw := k.RevealSecretBytes()
				out = append(out, secretOf(kid.String(), raw[:]))
			}
		}
	}
	return out, allowed
}

// redisText is every key and value in Redis.
func (l *lab) redisText(t *testing.T, ctx context.Context) map[string]string {
	t.Helper()
	c := l.redisClient(t)
	out := map[string]string{}
	keys := c.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		k := keys.Val()
		kind, err := c.Type(ctx, k).Result()
		if err != nil {
			t.Fatal(err)
		}
		var v any
		switch kind {
		case "string":
			v, err = c.Get(ctx, k).Result()
		case "list":
			v, err = c.LRange(ctx, k, 0, -1).Result()
		case "hash":
			v, err = c.HGetAll(ctx, k).Result()
		case "set":
			v, err = c.SMembers(ctx, k).Result()
		case "zset":
			v, err = c.ZRange(ctx, k, 0, -1).Result()
		case "none": // expired meanwhile
			continue
		default:
			t.Fatalf("Redis key %s is a %s: teach this test to read it", k, kind)
		}
		if err != nil && kind != "string" {
			t.Fatal(err)
		}
		out[k] = fmt.Sprintf("%s %v", k, v)
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func argv(t *testing.T, p *process) []byte {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid))
	if err != nil || !bytes.Contains(b, []byte("--media")) {
		t.Fatalf("read the arguments of %s: %q, %v", p.cmd, b, err)
	}
	return b
}

func TestInvariant6KeysStayInside(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := stocked(t, ctx)
	e := l.engine(t)
	id := l.begin(t, ctx, "--kid", movieVideo, "--kid", sharedAudio, "--key-uri", clipKey)
	secrets, allowed := secretsOf(t, ctx, e, id)
	if len(secrets) != 7 || len(allowed) != 2 {
		t.Fatalf("%d keys, key objects %v", len(secrets), allowed)
	}
	var found []string
	look := func(where string, b []byte) { found = append(found, leaks(secrets, where, b)...) }
	lookRedis := func(when string) int {
		all := l.redisText(t, ctx)
		for k, v := range all {
			look("Redis, "+when+", "+k, []byte(v))
		}
		return len(all)
	}

	// All parts lie in Redis, and nobody takes them yet.
	queued := l.rekey(t, ctx, nil, "-v", "resume", id)
	l.succeed(t, ctx, queued)
	if n := lookRedis("queued"); n < 7 {
		t.Errorf("Redis held %d keys while parts were queued", n)
	}
	worker, driver := l.start(t, ctx, "-v", "worker"), l.start(t, ctx, "-v", "resume", id, "--wait")
	look("the worker's arguments", argv(t, worker))
	look("the driver's arguments", argv(t, driver))
	lookRedis("in work")
	if code := driver.wait(t, ctx); code != 0 {
		t.Errorf("the driver ended with exit %d\n%s", code, driver.out)
	}
	lookRedis("afterwards")
	worker.stop(t, ctx)
	if !strings.Contains(driver.out.String(), "level=INFO") {
		t.Error("the driver logged nothing with -v")
	}
	look("the worker's output", []byte(worker.out.String()))
	look("the driver's output", []byte(driver.out.String()))
	for _, args := range [][]string{{"status", id}, {"keys", "list"}, {"keys", "show", movieVideo}, {"verify", "movie", "clip"}} {
		a := l.rekey(t, ctx, nil, append([]string{"-v", "--json"}, args...)...)
		look(strings.Join(args, " "), []byte(l.succeed(t, ctx, a)+a.stderr))
	}
	keyObjects := 0
	for name, s := range map[string]*store.S3{"media": l.media, "control": l.control} {
		for info, err := range s.List(ctx, "") {
			if err != nil {
				t.Fatal(err)
			}
			stat, err := s.Stat(ctx, info.Key)
			if err != nil {
				t.Fatal(err)
			}
			look("attributes of "+name+"/"+info.Key, fmt.Append(nil, stat))
			if name == "media" && allowed[info.Key] {
				// The search itself is shown to work by what it must find.
				if len(leaks(secrets, info.Key, read(t, ctx, s, info.Key))) > 0 {
					keyObjects++
				}
				continue
			}
			look(name+"/"+info.Key, read(t, ctx, s, info.Key))
		}
	}
	if keyObjects != 2 {
		t.Errorf("the search finds keys in %d of the 2 key objects", keyObjects)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// The search of TestInvariant6KeysStayInside finds a key in every form.
func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	raw := []byte{0xfb, 0xff, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xfe, 0x3f}
	s := []secret{secretOf("k", raw)}
	for name, b := range map[string]string{
		"raw": "x" + string(raw), "hex": fmt.Sprintf("%x", raw), "HEX": fmt.Sprintf("%X", raw),
		"base64": base64.StdEncoding.EncodeToString(raw), "url": base64.URLEncoding.EncodeToString(raw),
		"base64 inside": base64.StdEncoding.EncodeToString([]byte("ab" + string(raw) + "cdef")),
		"url inside":    base64.URLEncoding.EncodeToString([]byte("a" + string(raw) + "cdef")),
	} {
		if len(leaks(s, name, []byte(b))) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
	if found := leaks(s, "nothing", bytes.Repeat([]byte("no key here "), 100)); len(found) > 0 {
		t.Error(found)
	}
}
