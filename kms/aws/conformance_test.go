package aws_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/kms/aws"
	"github.com/seed-6133abe0/rekey/kms/kmstest"
)

func TestConforms(t *testing.T) {
	s := newService(t)
	kmstest.Run(t, kmstest.Target{
		Open:  func(t *testing.T) kms.Provider { return s.open(t, nil) },
		Later: s.pass,
	})
}

// TestPrintsNothingSecret: no verb, no log and no error shows credentials.
func TestPrintsNothingSecret(t *testing.T) {
	s := newService(t)
	p := s.open(t, nil)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("opened", "provider", p)
	shown := fmt.Sprintf("%v %+v %#v %s %d", p, p, p, p, p) + log.String()
	if strings.Contains(shown, "must not show") || strings.Contains(shown, "AKIDTEST") {
		t.Errorf("shows credentials: %s", shown)
	}
	if want := "aws-kms:" + s.Region; strings.Count(shown, want) != 6 {
		t.Errorf("%s: want %s each time", shown, want)
	}
}

// wantOne wants an error of one class and no other.
func wantOne(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
		return
	}
	for _, class := range allClasses() {
		if !errors.Is(class, want) && errors.Is(err, class) {
			t.Errorf("%s: %v: is %v, too", what, err, class)
		}
	}
	if s := err.Error(); strings.ContainsAny(s, "\n\r") || len(s) > 2000 {
		t.Errorf("%s: not one short line: %q", what, s)
	}
}

// TestOfItsKind: what a Provider makes can be read by its own region alone.
func TestOfItsKind(t *testing.T) {
	k := newKEK(t)
	if want := fmt.Sprintf("aws-kms:arn:aws:kms:%s:%s:key/", k.Region, k.Account); !strings.HasPrefix(k.id, want) {
		t.Errorf("id %s, want %s…", k.id, want)
	}
	d, err := k.Describe(t.Context(), k.id)
	if err != nil || d.Created.IsZero() || d.Name != "movies" {
		t.Errorf("Describe: %+v, %v", d, err)
	}
	m := k.metadata("alias/rekey-movies")
	if m["Arn"] != k.arn() || m["KeySpec"] != "SYMMETRIC_DEFAULT" || m["KeyUsage"] != "ENCRYPT_DECRYPT" {
		t.Errorf("the alias leads to %+v", m)
	}
	// A key that rekey did not make has no name.
	made := k.about("CreateKey", map[string]any{"Description": "somebody's"})["KeyMetadata"].(map[string]any)
	other := aws.Scheme + ":" + made["Arn"].(string)
	if d, err := k.Describe(t.Context(), other); err != nil || d.Name != "" || d.State != kms.KEKEnabled {
		t.Errorf("Describe of a key made by hand: %+v, %v", d, err)
	}
	kid, c := key.NewKID(), key.NewContentKey()
	w, err := k.Wrap(t.Context(), other, kid, c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Unwrap(t.Context(), other, kid, w); err != nil || !got.Equal(c) {
		t.Errorf("Unwrap under a key made by hand: another key, or %v", err)
	}
}
