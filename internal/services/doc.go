// Package services starts the servers that tests of other packages talk to: a
// Redis, a MinIO and a local-kms, each a process of its own on a free port, with
// its data in the test's temporary directory, stopped when the test ends, also
// when the test binary dies without cleaning up. It also makes SoftHSM2 tokens,
// which are files.
//
// A server that is not installed fails the test and says how to get it
// (`make tools`); a test is never skipped for it. MinIO is run, never linked.
// Nothing but tests imports this package.
package services
