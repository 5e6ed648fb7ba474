package aesbulk

import (
	"bytes"
	"crypto/cipher"
	"math"
	"os"
	"os/exec"
	"testing"
)

// foreign hides which AES it is, as a cipher.Block of another library would.
type foreign struct{ cipher.Block }

// stream is a cipher.Stream of ours.
type stream struct {
	p *struct{ b, ivlo, ivhi, offset uint64 }
}

func (stream) XORKeyStream(dst, src []byte) {}

func TestResettable(t *testing.T) {
	if _, _, ok := resettable(testBlock(t)); !ok {
		t.Error("streams of this Go's AES cannot be reset: see counter")
	}
	if _, _, ok := resettable(foreign{testBlock(t)}); ok {
		t.Error("a stream of an unknown Block passes for one that can be reset")
	}
}

func TestLocateRefuses(t *testing.T) {
	var nobody *stream
	for name, s := range map[string]cipher.Stream{
		"nothing":       nil,
		"nil pointer":   nobody,
		"empty":         stream{},
		"look-alike":    stream{&struct{ b, ivlo, ivhi, offset uint64 }{}},
		"generic":       cipher.NewCTR(foreign{testBlock(t)}, make([]byte, 16)),
		"public struct": cipher.StreamReader{}.S,
	} {
		if _, ok := locate(s); ok {
			t.Errorf("%s: passes for a stream that can be reset", name)
		}
	}
}

// Fields that have the right names and another meaning must be found out.
func TestObeysRefuses(t *testing.T) {
	b := testBlock(t)
	s := cipher.NewCTR(b, make([]byte, 16))
	n, ok := locate(s)
	if !ok || !obeys(b, s, n) {
		t.Fatal("stream of this Go's AES cannot be reset")
	}
	for name, wrong := range map[string]counter{
		"swapped":     {high: n.low, low: n.high, offset: n.offset},
		"dead offset": {high: n.high, low: n.low, offset: new(uint64)},
		"dead high":   {high: new(uint64), low: n.low, offset: n.offset},
		"dead low":    {high: n.high, low: new(uint64), offset: n.offset},
		"rotated":     {high: n.offset, low: n.high, offset: n.low},
	} {
		if obeys(b, s, wrong) {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestForeignBlock(t *testing.T) {
	b, iv, src := testBlock(t), testIV(math.MaxUint64, math.MaxUint64-4), random(500)
	c := NewCTR(foreign{b})
	for _, by := range countings {
		got := make([]byte, len(src))
		by.start(c, iv, len(src))
		c.XOR(got, src)
		if !bytes.Equal(got, by.slow(b, iv, src)) {
			t.Errorf("%s: key stream is wrong", by.name)
		}
	}
}

// The ways Go's AES can be switched at start: the FIPS 140 module, and AES
// without assembly.
func TestUnderSettings(t *testing.T) {
	const own, foreign = "CTR|CBC|Obeys", "|Resettable|Locate|Foreign"
	for setting, tests := range map[string]string{
		"fips140=on":   own + foreign,
		"fips140=only": own, // cipher.NewCTR refuses any other AES there
		"cpu.aes=off":  own + foreign,
		"cpu.all=off":  own + foreign,
	} {
		t.Run(setting, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^Test("+tests+")")
			cmd.Env = append(os.Environ(), "GODEBUG="+setting)
			if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("no tests to run")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
