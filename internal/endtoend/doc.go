// Package endtoend tests whole rotations from outside: the real command, built
// once with the race detector, over a real MinIO and a real Redis, with kills,
// lost queues, replaced objects and bad input.
//
// Each invariant of docs/architecture.md has its test here. What media decrypts
// to is judged by FFmpeg and OpenSSL (package judge), or compared with what the
// old ciphertext decrypted to before anything began. The package holds tests
// only.
package endtoend
