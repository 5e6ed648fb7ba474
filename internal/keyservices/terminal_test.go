package keyservices

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"
)

// terminal gives a command that is about to start a terminal of its own, on
// which every question is answered with the passphrase; without a passphrase it
// gets none. hangUp closes it.
func (l *lab) terminal(t *testing.T, c *exec.Cmd) (hangUp func()) {
	t.Helper()
	if l.passphrase == "" {
		return func() {}
	}
	ours, theirs, err := pseudoTerminal()
	if err != nil {
		t.Fatal(err)
	}
	c.ExtraFiles = []*os.File{theirs}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1<<10)
		for {
			n, err := ours.Read(b)
			if err != nil {
				return
			}
			if bytes.HasSuffix(b[:n], []byte(": ")) {
				_, _ = ours.WriteString(l.passphrase + "\n") // a program that is gone needs none
			}
		}
	}()
	return func() {
		_, _ = theirs.Close(), ours.Close()
		<-done
	}
}

// pseudoTerminal opens one as pts(4) says.
func pseudoTerminal() (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	var number, locked int32
	for request, arg := range map[uintptr]*int32{syscall.TIOCSPTLCK: &locked, syscall.TIOCGPTN: &number} {
		if _, _, code := syscall.Syscall(syscall.SYS_IOCTL, ours.Fd(), request, uintptr(unsafe.Pointer(arg))); code != 0 {
			return nil, nil, fmt.Errorf("set up %s: %w", ours.Name(), code)
		}
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		_ = ours.Close()
	}
	return ours, theirs, err
}
