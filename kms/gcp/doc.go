// Package gcp wraps content keys under keys of Google Cloud KMS, through
// Google's own client (cloud.google.com/go/kms/apiv1, gRPC).
//
// A KEK is one CryptoKeyVersion and its id is "gcp-kms:" and the version's
// resource name. [Provider.Create] makes a CryptoKey of its own for each KEK,
// without rotation, so the KEK is its version 1; a version of any other
// symmetric CryptoKey can be used as well. The key ring must be there: Google
// lets nobody delete one, so it is made by hand.
//
// Bound to the version: Encrypt names a version, but Decrypt names a CryptoKey
// and lets the service pick the version by the ciphertext, and the answer does
// not say which it was. So the additional authenticated data are the entries of
// [kms.Context] and the KEK's id: bytes wrapped under another version of the
// same CryptoKey fail Google's authentication, as do those of another CryptoKey,
// and both are [kms.ErrMismatch].
//
// Whole on the way: CRC32C of plaintext, authenticated data and ciphertext goes
// with every request and is checked on every answer
// (https://cloud.google.com/kms/docs/data-integrity-guidelines). What does not
// agree is [kms.ErrUnavailable]: it was damaged in transit, and trying again may
// do.
//
// Off means off: a version that was disabled stays usable for about a minute, in
// exceptional cases for hours (https://cloud.google.com/kms/docs/consistency).
// [Provider.Disable] therefore encrypts a probe first, and returns nil only once
// several encryptions and decryptions in a row were refused. That shows the front
// ends that answered, not all that Google has. To shut a caller out within
// seconds, take its IAM role away.
//
// It never retries a call, never deletes a CryptoKey, never touches IAM or
// rotation, and shows no key bytes: the client's debug log, which prints
// plaintexts whole (GOOGLE_SDK_GO_LOGGING_LEVEL=debug), is switched off.
//
// The folder policies holds one IAM role for each role of rekey, with the
// permissions that the calls need and no others.
//
// Not run against Google's service: it has no emulator. The tests named
// TestProtocol… run the real client over gRPC against a server written from
// Google's reference (https://cloud.google.com/kms/docs/reference/rpc), which
// enforces names, field masks, states, checksums, authenticated data and IAM
// permissions. Whatever Google does otherwise than it documents is not tested.
package gcp
