// Package backup writes all content keys into one encrypted file whose master
// secret no single person holds, and reads them back. It is pure: bytes in, bytes
// out. It knows no store, no KMS and no audit log; who may call, and that a
// restore is on record, is its caller's business.
//
// # Who can open it
//
// The master is a random scalar of the order of P-256, made for one backup, used
// for nothing else and kept nowhere: never the live KEK, nor wrapped by it. It is
// split k of n (Shamir, over that order, from cloudflare/circl). The manifest
// holds Feldman's commitments to the polynomial, against which every share is
// checked by itself: of shares that do not fit the bad one is named, where plain
// Shamir would give another secret without an error. Each share is encrypted to
// its holder's P-256 key: AES-256-GCM under a secret that HPKE exports (RFC 9180,
// base mode, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, export only), bound to the
// manifest, its number and the key. A holder need not bring a private key to the machine that restores:
// [Share.SealTo] encrypts a share again, to a key of that machine.
//
// The commitments and HPKE are as strong as discrete logarithms on P-256: 128
// bits, and nothing against a quantum computer.
//
// # What the second factor does
//
// [Master.Unlock] asks for a time-based code (RFC 6238, HMAC-SHA-256) before it
// lets this program read entries. The factor stops someone at the keyboard who
// has the shares and not the authenticator, and puts a second person on record.
// It is a check in the program, not cryptography: whoever holds k shares and the
// file can decrypt it with a program of their own, and finds the factor's secret
// in it. That code is not asked for.
//
// # What authenticates it
//
// Chunks are sealed under a key derived from the master and the whole header.
// Without k shares nobody changes, cuts, extends, reorders or repeats a part of
// the file unseen, and no entry is given out from a chunk before that chunk is
// authenticated. The end is explicit and holds the counts; a caller that acts on
// entries before the end was seen must be able to take it back, or call
// [Unlocked.Verify] first. But anyone can make a *new* backup to the same holders,
// with keys of their own choice: compare [Header.Fingerprint] with what was
// recorded when the backup was made. Under one fingerprint there is one master, so
// nobody with fewer than k shares can make a second file that bears it.
//
// One changed bit makes a backup, or the rest of it, unreadable. Keep copies.
//
// # The file
//
// The header is lines of text that end in LF:
//
//	rekey-backup-v2
//	the manifest: JSON
//	n sealed shares: JSON each, by number from 1
//	the sealed secret of the second factor: JSON
//
// After it come chunks of nonce (12 bytes) ‖ ciphertext ‖ tag (16): AES-256-GCM
// under HKDF-SHA-256(master, salt = SHA-256(header), info = "rekey backup v2
// chunks"), the additional data "rekey backup v2 chunk" ‖ index (8 bytes, from 0) ‖
// 1 if it is the last, else 0. Every chunk but the last holds 65536 bytes. In
// them, one after the other and across borders (numbers big-endian):
//
//	1 ‖ KID (16) ‖ key (16) ‖ length (4) ‖ record      a key
//	2 ‖ KID (16) ‖ length (4) ‖ record                 a destroyed key
//	3 ‖ entries (8) ‖ of these destroyed (8)           the end
//
// A share's number and value are a point of the polynomial; the value is 32
// bytes. A sealed share is the encapsulated key (65) ‖ nonce (12) ‖ ciphertext ‖
// tag (16): HPKE's info is "rekey backup v2 share" LF fingerprint of the manifest
// LF number LF fingerprint of the recipient's key, both in hex; what it exports
// in the context "rekey backup v2 share", 32 bytes, is the key of AES-256-GCM,
// without additional data. The factor's secret is sealed as a chunk is, under info "rekey
// backup v1 factor" with the manifest's fingerprint as salt, without additional
// data. A fingerprint is SHA-256: of the manifest's line without LF, of a key's
// SubjectPublicKeyInfo.
//
// # FIPS 140
//
// All of it runs under GODEBUG=fips140=only, with the module that Go ships by
// default and with GOFIPS140=v1.0.0. That one refuses HPKE's own AES-GCM, whose
// nonces are counted outside it; so HPKE only exports a secret here. Encryption,
// derivation, HPKE and the code are the Go Cryptographic Module's; Shamir's scheme is no approved function of any module, and circl
// computes it with math/big, not in constant time, on the machine that makes or
// restores a backup.
//
// Specifications: RFC 9180 (HPKE), RFC 6238 and RFC 4226 (TOTP, HOTP), RFC 5869
// (HKDF), NIST SP 800-38D §8.2.2 (random 96-bit nonces), Shamir 1979, Feldman
// 1987 §4.
package backup
