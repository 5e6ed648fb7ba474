// Package kms wraps and unwraps content keys under a key encryption key (KEK)
// that never leaves its provider. [Local], whose KEK is derived from a master
// key in a file, is the provider for one machine and for trying things out;
// package kmstest holds the conformance suite that every provider passes.
//
// A wrapped key is bound to its KID and its KEK: bytes that are moved to
// another KID, or shown to another KEK, do not unwrap ([ErrMismatch]). Each
// provider binds them through its own authenticated context, which holds the
// entries of [Context].
//
// It never stores a wrapped key, keeps no audit and knows no key states (all
// three are package keyring's), and puts key bytes in no error.
//
// Local follows NIST SP 800-38D (AES-256-GCM, random 96-bit nonces, §8.2.2, so
// at most 2^32 wraps under one KEK, §8.3) and RFC 5869 (HKDF-SHA-256). It uses
// only approved functions of the Go Cryptographic Module and works under
// GODEBUG=fips140=only.
package kms
