//go:build pkcs11 && cgo

package pkcs11

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/kms"
)

// childVar holds, for a test binary that another one started: module, token, file
// of the PIN, KEK, what to do, KID and wrapped key.
const childVar = "REKEY_TEST_PKCS11_CHILD"

// TestOtherProcess: what one process switches, another that has the token open
// sees, in both directions.
func TestOtherProcess(t *testing.T) {
	if do := os.Getenv(childVar); do != "" {
		child(t, strings.Split(do, "\n"))
		return
	}
	b := newBench(t)
	p := b.open(t)
	kek := mustCreate(t, p, "two-processes")
	kid, k := key.NewKID(), key.NewContentKey()
	w := mustWrap(t, p, kek, kid, k)
	in := func(do, want string) {
		t.Helper()
		if got := b.inChild(t, kek, do, kid, w); got != want {
			t.Errorf("%s in another process: %s, want %s", do, got, want)
		}
	}
	here := func(want error) {
		t.Helper()
		if _, err := p.Unwrap(t.Context(), kek, kid, w); !errors.Is(err, want) {
			t.Errorf("Unwrap here: %v, want %v", err, want)
		}
	}
	in("unwrap", "done")
	if err := p.Disable(t.Context(), kek); err != nil {
		t.Fatal(err)
	}
	in("unwrap", "disabled")
	in("enable", "done")
	here(nil)
	in("disable", "done")
	here(kms.ErrDisabled)
	if err := p.Enable(t.Context(), kek); err != nil {
		t.Fatal(err)
	}
	in("schedule", "done")
	here(kms.ErrDisabled)
	if d, err := p.Describe(t.Context(), kek); err != nil || d.State != kms.KEKPending {
		t.Errorf("Describe: %+v, %v; want it pending", d, err)
	}
}

// inChild runs this test in a process of its own and returns what that printed.
func (b *bench) inChild(t *testing.T, kek, do string, kid key.KID, w []byte) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestOtherProcess$", "-test.v")
	do = strings.Join([]string{b.Module, b.Token, b.PINFile, kek, do, kid.String(), hex.EncodeToString(w)}, "\n")
	cmd.Env = append(os.Environ(), childVar+"="+do)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	_, after, ok := strings.Cut(string(out), "answer:")
	if !ok {
		t.Fatalf("child gave no answer:\n%s", out)
	}
	answer, _, _ := strings.Cut(after, "\n")
	return answer
}

func child(t *testing.T, args []string) {
	p, err := New(t.Context(), Options{Module: args[0], Token: args[1], PINFile: args[2]})
	if err != nil {
		t.Fatal(err)
	}
	kek := args[3]
	switch args[4] {
	case "unwrap":
		kid, kidErr := key.ParseKID(args[5])
		w, hexErr := hex.DecodeString(args[6])
		if err := errors.Join(kidErr, hexErr); err != nil {
			t.Fatal(err)
		}
		_, err = p.Unwrap(t.Context(), kek, kid, w)
	case "enable":
		err = p.Enable(t.Context(), kek)
	case "disable":
		err = p.Disable(t.Context(), kek)
	case "schedule":
		_, err = p.ScheduleDestruction(t.Context(), kek)
	}
	switch {
	case err == nil:
		fmt.Println("answer:done")
	case errors.Is(err, kms.ErrDisabled):
		fmt.Println("answer:disabled")
	default:
		fmt.Println("answer:" + err.Error())
	}
}
