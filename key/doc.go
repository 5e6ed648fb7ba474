// Package key holds the two things everything else is about: the key ID (KID)
// that names a content key, and the content key itself. They are different Go
// types, so that one is never passed where the other belongs.
//
// A ContentKey prints as REDACTED through every formatting, logging and
// marshalling path; the one way to its bytes is
// [ContentKey.RevealSecretBytes], named for the danger. Keys are made from
// crypto/rand and nowhere else.
//
// Sizes follow ISO/IEC 23001-7 (16-byte keys and KIDs) and RFC 8216 §5.2
// (16-byte AES-128 keys and IVs).
package key
