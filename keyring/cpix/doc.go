// Package cpix reads and writes documents of the Content Protection Information
// Exchange Format, DASH-IF CPIX 2.3: content keys, what DRM systems signal for
// them, and which tracks they are meant for.
//
// [Parse] takes keys in the clear and keys encrypted to a certificate. What is
// encrypted is authenticated first: the MAC over IV and ciphertext is compared
// in constant time before anything is decrypted (clause "Authenticated
// Encryption"). Elements are known by namespace and name, whatever prefix the
// sender chose; unknown elements are passed over, but a usage rule with an
// unknown filter is marked as one that must not be applied. A document type
// declaration is refused, and so are other encodings than UTF-8. [Emit] writes
// one canonical form of the same, with the namespaces CPIX names.
//
// Algorithms are those of the clause "Mandatory Algorithms": AES-256-CBC with
// PKCS #7 padding under a document key, HMAC-SHA512 under a MAC key, and both of
// these to each recipient by RSA-OAEP with MGF1 and SHA-1. SHA-1 cannot run in a
// process that enforces FIPS 140-3: there such a document is [ErrNotFIPS], and
// RSA-OAEP with SHA-256 (XML Encryption 1.1 §5.5.2) serves those who can read it.
//
// What this package never does: it checks no XML signatures, and whether a
// certificate is the right one is for the caller to know. Key bytes are in no
// error; a document that was emitted holds them where it has no recipients, and
// is for the caller to guard.
package cpix
