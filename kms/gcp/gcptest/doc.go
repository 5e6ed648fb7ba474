// Package gcptest is a Cloud KMS for tests, written from Google's reference of
// the gRPC service google.cloud.kms.v1 and not from Google's code: it checks
// requests as the reference says, the routing header and checksums included,
// and answers with the service's own errors. It holds keys in memory, listens on
// loopback, and asks for no credentials. That a client works with it does not
// show that it works with Google.
//
// Only tests import it.
package gcptest
