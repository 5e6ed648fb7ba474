package main

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/term"
)

// passphrase asks on the terminal for what a master key file is sealed under;
// nil where the config does not say so. It is taken from nowhere else: arguments
// and the environment of a process are for others to read.
func (a *app) passphrase() func(file string, fresh bool) ([]byte, error) {
	if a.cfg.KMS.Local.Passphrase != "prompt" {
		return nil
	}
	return func(file string, fresh bool) ([]byte, error) {
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return nil, usagef("ask for the passphrase of %s: no terminal: %v", file, err)
		}
		defer func() { _ = tty.Close() }()
		pass, err := ask(tty, "passphrase of "+file+": ")
		if err != nil || !fresh {
			return pass, err
		}
		again, err := ask(tty, "the same again: ")
		defer clear(again)
		if err == nil && !bytes.Equal(pass, again) {
			err = usagef("the two passphrases differ")
		}
		if err != nil {
			clear(pass)
			return nil, err
		}
		return pass, nil
	}
}

func ask(tty *os.File, prompt string) ([]byte, error) {
	if _, err := fmt.Fprint(tty, prompt); err != nil {
		return nil, err
	}
	pass, err := term.ReadPassword(int(tty.Fd()))
	_, _ = fmt.Fprintln(tty)
	if err != nil {
		return nil, fmt.Errorf("read passphrase: %w", err)
	}
	return pass, nil
}
