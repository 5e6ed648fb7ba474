// Package pkcs11 wraps content keys under AES keys in a PKCS#11 token: an HSM, or
// SoftHSM2. It follows PKCS#11 v2.40 (OASIS) and NIST SP 800-38D, and reaches the
// vendor's module through github.com/miekg/pkcs11.
//
// It needs cgo and the build tag pkcs11. Without either the package builds as
// well, and [New] returns [ErrNotBuilt].
//
// A KEK is one AES key object of the token, and its id is "pkcs11:", the token's
// label (URL-escaped), "/" and the key's CKA_ID in hex. The label, not the serial
// number, since it stays the same when a token is restored from its backup or
// copied to a second HSM; that no two tokens of a module have it is checked
// ([Options].Serial picks one). CKA_ID, not CKA_LABEL, since nobody renames it:
// Create takes 16 random bytes for it, so that no KEK ever has the id of another,
// in this token or a copy of it. The name that Create is given becomes the label.
//
// New KEKs are 256 bits, made in the token (CKM_AES_KEY_GEN), sensitive and not
// extractable, and may encrypt and decrypt and nothing else: a key that can both
// decrypt and wrap would give away the other keys of the token. A key that was
// made by hand can be used too, but wraps nothing if it may leave the token.
//
// A wrapped key is CKM_AES_GCM with the entries of [kms.Context] authenticated.
// CKM_AES_KEY_WRAP binds no context, so is not used. The 96-bit IV is random (SP
// 800-38D §8.2.2, so at most 2^32 wraps under one KEK, §8.3) and drawn from
// crypto/rand, the same generator that content keys come from: C_GenerateRandom
// would add one that may be missing or stuck, which nothing here could see. A
// token that insists on an IV of its own, and writes it into the parameters, is
// believed: that one goes into the wrapped key.
//
// Disabled means that CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP and CKA_UNWRAP are
// false, and the token refuses. That is an operational stop, not a boundary:
// whoever has the PIN can set them true again. To shut a caller out, change the
// PIN. [Provider.Enable] sets only CKA_ENCRYPT and CKA_DECRYPT.
//
// A token has no scheduler: the date of a destruction stands in the key's label,
// before its name ("rekey-destroy-20260102T030405Z-name"), set by the same call
// that switches the key off. CKA_END_DATE knows days only, and may stand on keys
// that nobody means to destroy. The key is destroyed by the first call that names
// it after the date, by the clock of the machine that calls, and leaves no trace:
// later calls say [kms.ErrNotFound]. A key with a date that may encrypt or decrypt
// again, since somebody set that by other means, is not destroyed.
//
// A wrapped key that does not fit gives CKR_ENCRYPTED_DATA_INVALID on some tokens
// and CKR_GENERAL_ERROR on others (SoftHSM2), as a broken token does. After the
// latter the KEK is tried on bytes of its own, then once more on the wrapped key:
// [kms.ErrMismatch] if the KEK works and the wrapped key does not, and
// [kms.ErrUnavailable] if the KEK does not work either.
//
// The context is asked before each call of the module and while waiting for a
// session. A call that is under way cannot be interrupted: a module that hangs
// holds its caller, whatever the context says.
//
// The PIN is read from a file of its owner's alone at each login and not kept.
// Once the token has refused a PIN, or would lock after one more, the Provider
// never offers one again: tokens lock after a few. Login belongs to the process,
// not to the Provider: if another part of it is logged in to the token, the PIN is
// not looked at. A Provider never logs out and never finalizes the module, which
// others in the process may be using; the module stays loaded until the process
// ends.
//
// It never retries a call, but to replace a session that is gone, and shows no
// key bytes and no PIN. What it cannot clear: the binding's copy of an unwrapped
// key in C memory that was freed, and the PIN's as a string.
//
// Tested against SoftHSM2 2.6. Other tokens are known from the specification.
package pkcs11
