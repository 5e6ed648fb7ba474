package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// pseudoTerminal opens one as pts(4) says.
func pseudoTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	var number, locked int32
	for request, arg := range map[uintptr]*int32{syscall.TIOCSPTLCK: &locked, syscall.TIOCGPTN: &number} {
		if _, _, code := syscall.Syscall(syscall.SYS_IOCTL, ours.Fd(), request, uintptr(unsafe.Pointer(arg))); code != 0 { //nolint:gosec // as pts(4) says
			t.Fatal(code)
		}
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	return ours, theirs
}

// TestReadCodeAsks: a person at a terminal is told what is waited for; a program
// that pipes the code gets nothing between its lines.
func TestReadCodeAsks(t *testing.T) {
	ours, theirs := pseudoTerminal(t)
	if _, err := ours.WriteString("123456\n"); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if code, err := readCode(theirs, &said); err != nil || code != "123456" || said.String() != "code of the second factor: " {
		t.Errorf("at a terminal: %q, %v, said %q", code, err, said.String())
	}
	said.Reset()
	if code, err := readCode(strings.NewReader("123456\n"), &said); err != nil || code != "123456" || said.Len() > 0 {
		t.Errorf("from a pipe: %q, %v, said %q", code, err, said.String())
	}
}
