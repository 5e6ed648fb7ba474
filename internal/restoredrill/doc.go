// Package restoredrill loses everything but the media, a backup and its shares,
// and wants the library back: the real command, built once with the race
// detector, on machines of which each has a control prefix and a KEK of its own.
//
// What an operator types is taken from docs/keys.md, literally. Codes are
// computed by the library that authenticators are tested with, holders' keys are
// made by OpenSSL. The package holds tests only.
package restoredrill
