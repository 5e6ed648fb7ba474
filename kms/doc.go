// Package kms wraps and unwraps content keys under a key encryption key (KEK)
// that never leaves its provider, and makes, describes and switches KEKs.
// [Local], whose KEKs are derived from master keys in files, is the provider for
// one machine and for trying things out; the folders beside this one hold those
// of key services and HSMs. Package kmstest holds the conformance suite that
// every provider passes. [Set] leads a KEK id to its provider and [Patient]
// tries again what passes with time.
//
// A wrapped key is bound to its KID and its KEK: bytes that are moved to
// another KID, or shown to another KEK, do not unwrap ([ErrMismatch]). Each
// provider binds the entries of [Context] through its own authenticated context.
//
// It never stores a wrapped key, keeps no audit and knows no key states (all
// three are package keyring's), and puts key bytes in no error.
//
// Local follows NIST SP 800-38D (AES-256-GCM, random 96-bit nonces, §8.2.2, so
// at most 2^32 wraps under one KEK, §8.3), RFC 5869 (HKDF-SHA-256) and, for files
// sealed under a passphrase, SP 800-132 (PBKDF2-HMAC-SHA-256). It uses only
// approved functions of the Go Cryptographic Module and works under
// GODEBUG=fips140=only.
package kms
