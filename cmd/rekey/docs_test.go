package main

import (
	"os"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/keyring"
)

// TestKeysDoc: the tables of docs/keys.md are those of the code.
func TestKeysDoc(t *testing.T) {
	b, err := os.ReadFile("../../docs/keys.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		have[strings.TrimSpace(line)] = true
	}
	want := strings.Split(strings.TrimSpace(access.Table()), "\n")
	for _, s := range keyring.States() {
		row := "| " + string(s)
		for _, u := range keyring.Uses() {
			row += " | " + string(keyring.Allows(s, u))
		}
		next := ""
		for _, to := range keyring.Transitions(s) {
			next += string(to) + " "
		}
		want = append(want, row+" | "+next+"|")
	}
	if len(want) < 40 {
		t.Fatalf("only %d rows to look for", len(want))
	}
	for _, row := range want {
		if !have[strings.TrimSpace(row)] {
			t.Errorf("docs/keys.md has no row %s", row)
		}
	}
}
