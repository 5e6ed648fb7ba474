package watch

import (
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/keyring"
)

func TestRefusal(t *testing.T) {
	for reason, c := range map[string]struct {
		use   keyring.Use
		state keyring.State
		told  bool
	}{
		`use verify: key may not be used for that: "verify" of a key that is compromised: it needs a rotation named`: {keyring.Verify, keyring.Compromised, true},
		`use encrypt: key may not be used for that: "encrypt" of a key that is compromised`:                          {keyring.Encrypt, keyring.Compromised, true},
		`use verify: "verify" of a key that is compromised, for rotation r: no`:                                      {keyring.Verify, keyring.Compromised, true},
		`use export: x: "export" of a key that is suspended: rotation compromised`:                                   {keyring.Export, keyring.Suspended, false},
		`use export: x: "export" of a key that is destroyed`:                                                         {keyring.Export, keyring.Destroyed, false},
		`use verify: x: "verify" of a key that is compromisedish`:                                                    {keyring.Verify, "", true},
		`use bake: x: "bake" of a key that is compromised`:                                                           {"", "", true},
		`the key is compromised`: {"", "", true},
		`use deliver`:            {keyring.Deliver, "", false},
		``:                       {"", "", false},
	} {
		if use, state := refusal(reason); use != c.use || state != c.state {
			t.Errorf("%q: %q, %q", reason, use, state)
		}
		if _, told := ofCompromised(reason); told != c.told {
			t.Errorf("%q: told %v", reason, told)
		}
	}
}

func FuzzReason(f *testing.F) {
	f.Add(`use verify: key may not be used for that: "verify" of a key that is compromised: only a worker may`)
	f.Add(`use decrypt-rekey: "decrypt-rekey" of a key that is compromised, for rotation r: gone`)
	f.Add(`use : "" of a key that is `)
	f.Fuzz(func(t *testing.T, reason string) {
		use, state := refusal(reason)
		if use != "" && !slices.Contains(keyring.Uses(), use) || state != "" && !slices.Contains(keyring.States(), state) {
			t.Fatalf("%q, %q are no use and state", use, state)
		}
		label, told := ofCompromised(reason)
		if told && !slices.Contains(append(keyring.Uses(), other), keyring.Use(label)) {
			t.Fatalf("label %q", label)
		}
		if told && !strings.Contains(reason, string(keyring.Compromised)) {
			t.Fatal("told without a word of it")
		}
	})
}
