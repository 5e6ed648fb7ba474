// Package aes128 rekeys HLS segments under METHOD=AES-128 (RFC 8216 §4.3.2.4,
// §5.2): a CBC message with PKCS #7 padding over a whole resource or a sub-range
// of it. The new ciphertext has the length of the old one, and is decrypted again
// and compared before it is returned.
//
// It reads no playlist, makes no key, and never returns media that it does not
// recognize: what decrypts to nothing known is an error that says what it looks
// like.
package aes128
