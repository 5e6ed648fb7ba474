package endtoend

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// spekeLab is a lab whose rotations go through a key service.
type spekeLab struct {
	*lab
	service *spekeServer
	output  strings.Builder // of every run
}

func newSPEKELab(t *testing.T, ctx context.Context, minio services.MinIO, mode string) *spekeLab {
	t.Helper()
	on := labOn(t, minio)
	on.program = plain
	l := &spekeLab{lab: on.stock(t, ctx), service: newSPEKEServer(t)}
	l.service.push = mode == "push"
	l.configure(t, mode, "")
	return l
}

// configure writes the config that the command finds in its folder.
func (l *spekeLab) configure(t *testing.T, mode, more string) {
	t.Helper()
	l.file(t, "token", []byte(l.service.token+"\n"))
	text := fmt.Sprintf("key_service:\n  endpoint: %s/speke/v2.0\n  mode: %s\n  token_file: %s\n", l.service.URL, mode, filepath.Join(l.dir, "token"))
	if mode == "ask" {
		text += fmt.Sprintf("  systems: [%s, %s]\n", widevineID, playReadyID)
	}
	l.file(t, "rekey.yaml", []byte(text+more))
}

func (l *spekeLab) config(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, "rekey.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (l *spekeLab) file(t *testing.T, name string, b []byte) string {
	t.Helper()
	name = filepath.Join(l.dir, name)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// certificate makes an identity and writes both of its files.
func (l *spekeLab) certificate(t *testing.T) (private *rsa.PrivateKey, cert, keyFile string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = l.file(t, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return private, cert, l.file(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// run is rekey without the hand-over that other labs name.
func (l *spekeLab) run(t *testing.T, ctx context.Context, args ...string) answer {
	t.Helper()
	a := l.rekey(t, ctx, nil, append(slices.Clone(args), "--handover", "")...)
	l.output.WriteString(a.stdout + a.stderr)
	return a
}

// refused wants an exit code, and an error of that class that names the service.
func (l *spekeLab) refused(t *testing.T, a answer, code int, class, reason string) {
	t.Helper()
	if a.code != code || !strings.Contains(a.stderr, `"class":"`+class+`"`) || !strings.Contains(a.stderr, l.service.host()) || !strings.Contains(a.stderr, reason) {
		t.Errorf("exit %d, want %d, class %s of %s and %q\n%s%s", a.code, code, class, l.service.host(), reason, a.stdout, a.stderr)
	}
}

// started is the rotation that a run printed.
func (l *spekeLab) started(t *testing.T, a answer) string {
	t.Helper()
	var s struct{ Rotation string }
	if err := json.Unmarshal([]byte(l.succeed(t, t.Context(), a)), &s); err != nil || s.Rotation == "" {
		t.Fatalf("printed %q: %v", a.stdout, err)
	}
	return s.Rotation
}

// compromised are the keys of movie and short.
var compromised = []string{"-v", "--json", "compromise", "--reason", "test", "--kid", movieVideo, "--kid", sharedAudio, "--kid", shortVideo}

var spekeEntries = []string{"movie/stream.mpd", "movie/master.m3u8", "short/stream.mpd"}

// reached are all objects that an entry leads to.
func (l *lab) reached(t *testing.T, ctx context.Context, entry string) map[string][]byte {
	t.Helper()
	a, err := catalog.Walk(ctx, l.media, entry, []string{entry}, catalog.Options{})
	if err != nil || len(a.Refusals) > 0 || len(a.Tracks) == 0 {
		t.Fatalf("walk %s: %v %v", entry, err, a.Refusals)
	}
	out := map[string][]byte{}
	for _, m := range a.Manifests {
		out[m.Key] = l.get(t, ctx, m.Key)
	}
	for _, track := range a.Tracks {
		out[track.Init.Key] = l.get(t, ctx, track.Init.Key)
		for _, s := range track.Segments {
			out[s.Key] = l.get(t, ctx, s.Key)
		}
	}
	return out
}

// drmData cuts pssh boxes and PlayReady objects out of an object, those in base64
// among them, by what they begin with.
func drmData(b []byte) (boxes, objects [][]byte) {
	layers := [][]byte{b}
	for _, run := range regexp.MustCompile(`[A-Za-z0-9+/]{20,}={0,2}`).FindAll(b, -1) {
		if inner, err := base64.StdEncoding.DecodeString(string(run)); err == nil {
			layers = append(layers, inner)
		}
	}
	for i, layer := range layers {
		if i > 0 && len(layer) > 10 && int(binary.LittleEndian.Uint32(layer)) == len(layer) {
			objects = append(objects, layer)
		}
		for at := 0; ; {
			n := bytes.Index(layer[at:], []byte("pssh\x00\x00\x00\x00"))
			if v1 := bytes.Index(layer[at:], []byte("pssh\x01\x00\x00\x00")); n < 0 || v1 >= 0 && v1 < n {
				n = v1
			}
			if n < 0 {
				break
			}
			at += n
			size := int(binary.BigEndian.Uint32(layer[at-4:]))
			boxes = append(boxes, layer[at-4:at-4+size])
			at += size - 4
		}
	}
	return boxes, objects
}

// newKIDs are the plan's, by asset.
func (l *spekeLab) newKIDs(t *testing.T, ctx context.Context, id string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for p, err := range l.engine(t).Journal().Plans(ctx, id) {
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Keys {
			out[p.Asset] = append(out[p.Asset], c.NewKID.String())
		}
	}
	if len(out) != 2 {
		t.Fatalf("the rotation has assets %v", out)
	}
	return out
}

// servicesData wants all Widevine and PlayReady data that the entries lead to be
// the service's, of each key of the asset, and counts it by the kind of object.
func (l *spekeLab) servicesData(t *testing.T, ctx context.Context, kids map[string][]string) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, entry := range spekeEntries {
		name, _, _ := strings.Cut(entry, "/")
		var boxes, objects [][]byte
		for _, kid := range kids[name] {
			p := l.service.box(playReadyID, kid)
			boxes, objects = append(boxes, l.service.box(widevineID, kid), p), append(objects, p[32:])
		}
		common, _ := hex.DecodeString("1077efecc0b24d02ace33c1e52e2fb4b")
		for object, b := range l.reached(t, ctx, entry) {
			in, pros := drmData(b)
			for _, box := range in {
				switch {
				case slices.ContainsFunc(boxes, func(b []byte) bool { return bytes.Equal(b, box) }):
					count[filepath.Ext(object)]++
				case !bytes.Equal(box[12:28], common):
					t.Errorf("%s has a box that is not the service's: %x", object, box)
				}
			}
			for _, pro := range pros {
				if !slices.ContainsFunc(objects, func(b []byte) bool { return bytes.Equal(b, pro) }) {
					t.Errorf("%s has a PlayReady object that is not the service's", object)
				} else {
					count["pro in "+filepath.Ext(object)]++
				}
			}
		}
	}
	return count
}

// nowhere wants none of the secrets in Redis, in any object, or in any output.
func (l *spekeLab) nowhere(t *testing.T, ctx context.Context, secrets []secret, outputs map[string]string) {
	t.Helper()
	var found []string
	for k, v := range l.redisText(t, ctx) {
		found = append(found, leaks(secrets, "Redis, "+k, []byte(v))...)
	}
	for name, s := range map[string]*store.S3{"media": l.media, "control": l.control} {
		for info, err := range s.List(ctx, "") {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, leaks(secrets, name+"/"+info.Key, read(t, ctx, s, info.Key))...)
		}
	}
	all := l.output.String()
	for name, text := range outputs {
		all += text
		found = append(found, leaks(secrets, name, []byte(text))...)
	}
	found = append(found, leaks(secrets, "the commands' output", []byte(l.output.String()))...)
	if len(secrets) < 2 || !strings.Contains(all, "level=INFO") {
		t.Errorf("%d secrets; all that was logged: %s", len(secrets), all)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// secrets are the service's keys and its token.
func (l *spekeLab) secrets() []secret {
	out := []secret{secretOf("token", []byte(l.service.token))}
	for kid, k := range l.service.made() {
		out = append(out, secretOf(kid, k[:]))
	}
	return out
}

func (l *spekeLab) judged(t *testing.T, ctx context.Context, want map[string]string) {
	t.Helper()
	p := l.player(l.engine(t))
	for _, entry := range spekeEntries {
		l.judgeCENC(t, ctx, entry)
		if err := p.plays(ctx, entry, want); err != nil {
			t.Error(err)
		}
	}
	for _, kid := range []string{movieVideo, sharedAudio, shortVideo} {
		for _, f := range append(l.namesIn(t, ctx, spekeEntries[:2], key.KID(hexBytes(t, kid))), l.namesIn(t, ctx, spekeEntries[2:], key.KID(hexBytes(t, kid)))...) {
			t.Error(f)
		}
	}
}

func hexBytes(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKeyServiceMakesKeys(t *testing.T) {
	t.Parallel()
	minio := services.StartMinIO(t)
	for _, encrypted := range []bool{false, true} {
		t.Run(map[bool]string{false: "in the clear", true: "encrypted"}[encrypted], func(t *testing.T) {
			ctx := bounded(t)
			l := newSPEKELab(t, ctx, minio, "ask")
			if encrypted {
				_, cert, private := l.certificate(t)
				l.configure(t, "ask", "  certificate: "+cert+"\n  private_key: "+private+"\n")
			}
			want := truth(t, ctx, l.player(l.engine(t)), spekeEntries...)
			before := tree(t, ctx, l.media, "")
			l.service.look(func() {
				for info, err := range l.control.List(ctx, "rotations/") {
					l.service.fault("asked when the rotation had begun: %s, %v", info.Key, err)
				}
			})
			l.succeed(t, ctx, l.run(t, ctx, append(compromised, "--dry-run")...))
			if n := len(l.service.asked()); n != 0 {
				t.Errorf("a dry run asked for %d keys", n)
			}
			a := l.run(t, ctx, compromised...)
			id := l.started(t, a)
			sameTree(t, "media before any work", tree(t, ctx, l.media, ""), before)
			// The service may go: everything that it knows is here.
			asked := l.service.asked()
			l.service.Close()
			worker := l.start(t, ctx, "-v", "worker", "--handover", "")
			driver := l.start(t, ctx, "-v", "resume", id, "--wait", "--handover", "")
			args := string(argv(t, worker)) + string(argv(t, driver))
			if code := driver.wait(t, ctx); code != 0 {
				t.Fatalf("the driver ended with exit %d\n%s", code, driver.out)
			}
			worker.stop(t, ctx)

			kids := l.newKIDs(t, ctx, id)
			l.asksRight(t, asked, kids, encrypted)
			made := l.service.made()
			for _, list := range kids {
				for _, kid := range list {
					if k := made[kid]; l.export(t, ctx, kid) != hex.EncodeToString(k[:]) {
						t.Errorf("KID %s has not the service's key", kid)
					}
				}
			}
			if !encrypted {
				l.judged(t, ctx, want)
			}
			l.succeed(t, ctx, l.run(t, ctx, "verify", "movie", "short"))
			count := l.servicesData(t, ctx, kids)
			t.Logf("the service's data, by where it stands: %v", count)
			if count[".mp4"] == 0 || count[".mpd"] == 0 || count[".m3u8"] == 0 || count["pro in .mpd"] == 0 || count["pro in .m3u8"] == 0 {
				t.Errorf("the service's data stands %v times", count)
			}
			l.nowhere(t, ctx, l.secrets(), map[string]string{
				"the worker's output": worker.out.String(), "the driver's output": driver.out.String(), "arguments": args,
			})
		})
	}
}

// asksRight wants one request for each asset, for all of its keys.
func (l *spekeLab) asksRight(t *testing.T, asked []exchange, kids map[string][]string, encrypted bool) {
	t.Helper()
	if len(asked) != len(kids) {
		t.Errorf("%d requests for %d assets", len(asked), len(kids))
	}
	for _, x := range asked {
		if len(x.keys) != 2 || len(kids[x.content]) != 2 || (x.cert != nil) != encrypted {
			t.Errorf("asset %s: asked for %v", x.content, x.keys)
		}
		var types []string
		for _, kid := range kids[x.content] {
			if _, ok := x.keys[kid]; !ok || x.scheme[kid] != "cenc" {
				t.Errorf("asset %s: KID %s was not asked for as cenc", x.content, kid)
			}
			types = append(types, x.types[kid])
		}
		slices.Sort(types)
		if !slices.Equal(types, []string{"AUDIO", "VIDEO"}) {
			t.Errorf("asset %s: track types %v", x.content, types)
		}
	}
}

func TestKeyServiceIsHandedKeys(t *testing.T) {
	t.Parallel()
	minio := services.StartMinIO(t)
	for _, encrypted := range []bool{false, true} {
		t.Run(map[bool]string{false: "in the clear", true: "encrypted"}[encrypted], func(t *testing.T) {
			ctx := bounded(t)
			l := newSPEKELab(t, ctx, minio, "push")
			if encrypted {
				private, cert, _ := l.certificate(t)
				l.service.private = private
				l.configure(t, "push", "  provider_certificate: "+cert+"\n")
			}
			want := truth(t, ctx, l.player(l.engine(t)), spekeEntries...)
			before := tree(t, ctx, l.media, "")
			l.service.look(func() { l.stillOld(ctx, before) })
			// --handover none beside a service to push to: one of the two would not
			// be what was meant.
			a := l.rekey(t, ctx, nil, append(compromised, "--wait")...)
			if a.code != 2 || !strings.Contains(a.stderr, "handover") || len(l.service.asked()) > 0 {
				t.Errorf("exit %d, want 2 for two hand-overs\n%s", a.code, a.stderr)
			}
			worker := l.start(t, ctx, "-v", "worker", "--handover", "")
			a = l.run(t, ctx, append(compromised, "--wait")...)
			worker.stop(t, ctx)
			if a.code != 0 {
				t.Fatalf("exit %d\n%s%s", a.code, a.stdout, a.stderr)
			}
			kids := l.newKIDs(t, ctx, l.started(t, a))
			l.pushed(t, ctx, kids)
			if !encrypted {
				l.judged(t, ctx, want)
			}
			l.succeed(t, ctx, l.run(t, ctx, "verify", "movie", "short"))
			secrets := l.secrets()
			for kid, k := range l.service.asked()[0].keys {
				secrets = append(secrets, secretOf(kid, hexBytes(t, k)))
			}
			l.nowhere(t, ctx, secrets, map[string]string{"the worker's output": worker.out.String()})
		})
	}
}

// stillOld is called as keys arrive: no manifest may name them yet, and all media
// of the new trees must wait for it.
func (l *spekeLab) stillOld(ctx context.Context, before map[string]string) {
	for _, entry := range spekeEntries {
		b, _, err := store.ReadAll(ctx, l.media, entry, "", 1<<20, nil)
		sum := sha256.Sum256(b)
		if err != nil || hex.EncodeToString(sum[:]) != before[entry] {
			l.service.fault("%s had changed when keys arrived (%v)", entry, err)
		}
	}
}

// pushed wants every new key at the service, once and as it is in the ring, in a
// document for each asset.
func (l *spekeLab) pushed(t *testing.T, ctx context.Context, kids map[string][]string) {
	t.Helper()
	all := l.service.asked()
	if len(all) != len(kids) {
		t.Fatalf("%d documents for %d assets", len(all), len(kids))
	}
	for _, x := range all {
		if len(x.keys) != len(kids[x.content]) {
			t.Errorf("asset %s: %d keys, want %v", x.content, len(x.keys), kids[x.content])
		}
		for _, kid := range kids[x.content] {
			if x.keys[kid] != l.export(t, ctx, kid) || x.scheme[kid] != "cenc" {
				t.Errorf("asset %s: KID %s came with another key, or as %q", x.content, kid, x.scheme[kid])
			}
		}
	}
}
