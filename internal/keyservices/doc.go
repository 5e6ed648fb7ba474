// Package keyservices runs the program's rotations against every kind of key
// service that keeps KEKs: local files, AWS KMS, Google Cloud KMS, Vault and
// PKCS#11. Each run imports keys, rotates media under them, moves every key to
// a second KEK, has the service say that the first is off, and takes the service
// away in the middle of a rotation. The services are stand-ins on this machine:
// what that is worth, docs/keys.md says.
//
// It also runs the program where FIPS 140-3 is on, and where it is enforced.
// There is nothing here but tests; make keyservices runs them.
package keyservices
