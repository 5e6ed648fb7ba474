// Package access says who may do what: the roles, who holds them, and the second
// person that some actions need.
//
// What a role may do is one table ([Table] prints it). Who holds a role is an
// identity: a token that is shown once, kept as its SHA-256 alone, expires and can
// be revoked. Several tokens may be one person's. Actions that cannot be undone, or
// that let a key out, are asked for by one person and released by another:
//
//	Request   by whoever would do it, for one action on one subject
//	Grant     by an approver who is another person; or Refuse
//	Use       once, by the person who asked, while it holds
//
// Nobody approves what they asked for. Each step is on the audit log before it
// counts; where the log cannot be written, nothing happens, and refusals are on
// record as well.
//
// Everything stands in the control store and is written once:
//
//	identities/<id>.note               who, which roles, until when, digest of the token
//	identities/<id>.revoked            there: the token is no longer good
//	approvals/<day>/<id>/request.note  who asks for what, and why
//	approvals/<day>/<id>/decision.note what was granted or refused, and by whom
//	approvals/<day>/<id>/used          there: it was used, and is so no more
//
// A .note is signed (golang.org/x/mod/sumdb/note, Ed25519) by whoever runs rekey
// serve. What is not signed, was changed, or stands under another's name is not
// believed: whoever can write the store and has no signing key makes no identity,
// no role and no approval.
//
// The limits of that. Whoever holds credentials for the control store, the media
// store or the KMS, or the signing key, can do without rekey serve whatever those
// credentials allow, and this package does not stand in their way: they can delete
// the mark of a revocation or of a use, or destroy media and keys themselves. Give
// those credentials to rekey serve alone. An [Admin] grants roles, so can give
// roles to a person who is none; the audit log has every grant, with the name of
// who granted it, and is what to review. Tokens are bearer tokens: send them over
// TLS only.
//
// It never keeps a token, nor prints one, and knows no content keys. It runs under
// GODEBUG=fips140=only: SHA-256, Ed25519, crypto/rand.
package access
