package keyservices

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
)

// testCase is one key service.
type testCase struct {
	name  string
	alone bool // it changes the environment
	start func(t *testing.T, ctx context.Context, dir string) service
}

// TestRotation is one deployment's life with each key service.
func TestRotation(t *testing.T) {
	cases := append(tokens(), []testCase{
		{name: "local", start: localFile},
		{name: "local passphrase", start: localPassphrase},
		{name: "aws-kms", start: awsKMS},
		{name: "gcp-kms", start: gcpKMS},
		{name: "vault", start: vaultTransit},
	}...)
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			if !tt.alone {
				t.Parallel()
			}
			ctx, dir := bounded(t), t.TempDir()
			l := newLab(t, dir, tt.start(t, ctx, dir))
			one := l.firstKEK(t, ctx)
			l.stock(t, ctx)
			l.fed(t, ctx, string(fixtures.Keys()), "keys", "import", "-")
			l.do(t, ctx, "scan")
			l.rotate(t, ctx, shortVideo)
			l.allUnder(t, ctx, one)
			l.keepsKEKInUse(t, ctx, one)
			two := l.rotateKEK(t, ctx, one)
			l.allUnder(t, ctx, two)
			l.verify(t, ctx)
			l.outage(t, ctx, otherVideo, otherAudio)
			l.allUnder(t, ctx, two)
			l.keepsSilent(t, ctx, two)
		})
	}
}

// firstKEK makes the KEK that the control store begins with, by the program.
func (l *lab) firstKEK(t *testing.T, ctx context.Context) string {
	t.Helper()
	if l.scheme == kms.LocalScheme { // it is there by itself
		return strings.TrimSpace(printed[[]kekLine](t, ctx, l, "kek", "list")[0].KEK)
	}
	kek := printed[struct{ KEK string }](t, ctx, l, "kek", "create", "one", "--provider", l.scheme, "--reason", "test").KEK
	if kms.Scheme(kek) != l.scheme {
		t.Fatalf("made %q, want one of %s", kek, l.scheme)
	}
	l.configure(t, kek)
	return kek
}

// kekLine is what kek list says of a KEK.
type kekLine struct {
	KEK     string
	State   kms.KEKState
	Keys    int
	Current bool
	Error   string
}

// allUnder: every record is under the KEK, and the control store knows it.
func (l *lab) allUnder(t *testing.T, ctx context.Context, kek string) {
	t.Helper()
	list := printed[[]struct{ KID, KEK string }](t, ctx, l, "keys", "list")
	if len(list) < strings.Count(string(fixtures.Keys()), "\n") {
		t.Errorf("%d keys listed", len(list))
	}
	for _, k := range list {
		if k.KEK != kek {
			t.Errorf("key %s is under %s, want %s", k.KID, k.KEK, kek)
		}
	}
	for _, k := range printed[[]kekLine](t, ctx, l, "kek", "list") {
		if want := k.KEK == kek; k.Current != want || (k.Keys >= len(list)) != want || k.Error != "" {
			t.Errorf("kek list: %+v; want all under %s", k, kek)
		}
	}
}

// rotate makes a key useless: a compromise that ends done, and media that
// verifies.
func (l *lab) rotate(t *testing.T, ctx context.Context, kids ...string) {
	t.Helper()
	args := []string{"--json", "compromise", "--wait", "--reason", "test"}
	if l.redis != "" {
		args = append([]string{"--redis", l.redis}, args...)
		worker := l.start(t, ctx, "--redis", l.redis, "worker")
		defer worker.stop(t, ctx)
	}
	for _, kid := range kids {
		args = append(args, "--kid", kid)
	}
	id := printed[struct{ Rotation string }](t, ctx, l, args...).Rotation
	l.rotated(t, ctx, id)
}

// rotated wants a rotation done, new keys in the media, and all of it right.
func (l *lab) rotated(t *testing.T, ctx context.Context, id string) {
	t.Helper()
	s := l.status(t, ctx, id)
	if s.State != journal.Done || s.PartsDone != s.Parts || s.Parts == 0 {
		t.Errorf("rotation %s ended %s with %d of %d parts", id, s.State, s.PartsDone, s.Parts)
	}
	for _, a := range s.Assets {
		if a.State != journal.AssetVerified {
			t.Errorf("asset %s ended %s: %s", a.Asset, a.State, a.Reason)
		}
		for _, track := range a.Tracks {
			if track.OldKID == track.NewKID {
				t.Errorf("asset %s: track %s kept its key", a.Asset, track.Track)
			}
		}
	}
	l.verify(t, ctx)
}

func (l *lab) verify(t *testing.T, ctx context.Context) {
	t.Helper()
	out := l.do(t, ctx, append([]string{"verify"}, library...)...)
	if strings.Count(out, " 0 problems") != len(library) {
		t.Errorf("verify: %s", out)
	}
}

// keepsKEKInUse: a KEK that holds records is not disabled, and nothing of the
// keys changes.
func (l *lab) keepsKEKInUse(t *testing.T, ctx context.Context, kek string) {
	t.Helper()
	before := objects(t, ctx, l.control, "keys/")
	chosen := objects(t, ctx, l.control, "kek.json")
	l.refused(t, ctx, "kek-in-use", "kek", "disable", kek, "--reason", "test")
	if !maps.Equal(before, objects(t, ctx, l.control, "keys/")) || !maps.Equal(chosen, objects(t, ctx, l.control, "kek.json")) {
		t.Error("a refused kek disable changed records")
	}
	l.wantState(t, ctx, kek, kms.KEKEnabled)
	kid, k := key.NewKID(), key.NewContentKey()
	w, err := l.client.Wrap(ctx, kek, kid, k)
	if err != nil {
		t.Fatalf("after a refused kek disable: %v", err)
	}
	if got, err := l.client.Unwrap(ctx, kek, kid, w); err != nil || !got.Equal(k) {
		t.Errorf("after a refused kek disable: %v", err)
	}
}

// wantState asks the service itself.
func (l *lab) wantState(t *testing.T, ctx context.Context, kek string, want kms.KEKState) {
	t.Helper()
	if d, err := l.client.Describe(ctx, kek); err != nil || d.State != want {
		t.Errorf("the service says of %s: %+v, %v; want %s", kek, d, err, want)
	}
}

// rotateKEK moves every key to a second KEK; the service then refuses the first.
func (l *lab) rotateKEK(t *testing.T, ctx context.Context, one string) string {
	t.Helper()
	kid, k := key.NewKID(), key.NewContentKey()
	w, err := l.client.Wrap(ctx, one, kid, k)
	if err != nil {
		t.Fatal(err)
	}
	under := 0
	for _, k := range printed[[]kekLine](t, ctx, l, "kek", "list") {
		under += k.Keys
	}
	got := printed[struct {
		KEK                  string
		Keys, Secrets, Moved int
		Disabled             []string
	}](t, ctx, l, "kek", "rotate", "--create", "two", "--reason", "test")
	if got.KEK == one || kms.Scheme(got.KEK) != l.scheme || got.Moved != under || got.Keys+got.Secrets != under || !slices.Equal(got.Disabled, []string{one}) {
		t.Errorf("kek rotate: %+v; want %d moved from %s, and that disabled", got, under, one)
	}
	l.wantState(t, ctx, one, kms.KEKDisabled)
	l.wantState(t, ctx, got.KEK, kms.KEKEnabled)
	if _, err := l.client.Unwrap(ctx, one, kid, w); !errors.Is(err, kms.ErrDisabled) {
		t.Errorf("the service unwraps under %s: %v, want ErrDisabled", one, err)
	}
	return got.KEK
}

// keepsSilent: no key was printed, and none is in the config or where the
// program keeps its state.
func (l *lab) keepsSilent(t *testing.T, ctx context.Context, kek string) {
	t.Helper()
	secrets := l.allSecrets(t, ctx, kek)
	places := map[string]string{"what the program printed, or its config": l.heard()}
	for name, s := range map[string]map[string]string{"media": objects(t, ctx, l.media, ""), "control": objects(t, ctx, l.control, "")} {
		for k, b := range s {
			places[name+"/"+k] = b
		}
	}
	for place, text := range places {
		for _, found := range leaks(secrets, text) {
			t.Errorf("%s holds %s", place, found)
		}
	}
}

// ring opens the lab's keys in this process.
func (l *lab) ring(kek string) *keyring.Ring {
	return keyring.New(keyring.Options{Store: l.control, KMS: l.client, KEK: kek, Log: audit.New(l.control, time.Now, "test"), Clock: time.Now})
}
