// Package speke speaks SPEKE v2.0 (Secure Packager and Encoder Key Exchange) to
// a key provider: it asks for new keys and what DRM systems signal for them, or
// hands new keys over, both as CPIX 2.3.
//
// An answer is taken only if it is what was asked: the same content, exactly
// these KIDs with a value and their scheme, exactly these systems with every
// element that was asked for, the usage rules unchanged. SPEKE lets a provider
// answer with KIDs of its own; here that is [ErrContract], for rekey's plan names
// the KIDs before it asks. So is one key under two KIDs, and a key that is one byte
// sixteen times or its own KID.
//
// It goes over https, plain http to loopback only, and follows no redirect: both
// would show keys or credentials to others. Certificates are checked as the HTTP
// client given checks them. What the provider says in words is not passed on: a
// text that quotes a key must not reach a log. No key and no credential is in any
// error. Nothing is cached, and nothing but the context and a timeout ends a call
// that the provider does not.
//
// The clauses are those of AWS's "SPEKE API v2" specification: "Customizations
// and constraints", "Standard payload components", "Encryption contract", "VOD
// workflow method call examples" and "Content key encryption".
package speke
