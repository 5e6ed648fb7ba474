//go:build !fipsonly

package main

import (
	"fmt"
	"strings"

	"github.com/seed-6133abe0/rekey/rotation"
)

// policies are the planned runs of rekey schedule.
type policies []rotation.Policy

func (all policies) check() error {
	seen := map[string]bool{}
	for _, p := range all {
		if !policyName(p.Name) || seen[p.Name] {
			return fmt.Errorf("policy name %q is empty, taken or not letters, digits, - and _", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

func policyName(s string) bool {
	ok := func(r rune) bool {
		return r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0
}
