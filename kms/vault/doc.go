// Package vault wraps content keys under keys of a transit secrets engine: that
// of HashiCorp Vault (1.13 and later) or OpenBao, through HashiCorp's client
// (github.com/hashicorp/vault/api). It follows
// https://developer.hashicorp.com/vault/api-docs/secret/transit and
// https://openbao.org/api-docs/secret/transit.
//
// A KEK is one transit key of type aes256-gcm96 and its id is
// "vault:<mount>/<key name>". [Provider.Create] makes keys that cannot be
// exported or backed up in the clear; one made by hand can be used as well. Only
// the keys of Options.Mount are touched: an id that names another mount is
// [kms.ErrNotFound], so that no id leads a content key to another engine, where
// the same request could mean "store this".
//
// Bound: the entries of [kms.Context] go as associated_data of encrypt and
// decrypt. A server that does not know that parameter ignores it without a word,
// so before its first wrap a Provider sees that a ciphertext does not open
// without it.
//
// # Off and on
//
// Transit has no switch. A KEK is always version 1 of its key: encrypt asks for
// key_version 1, and nothing that does not begin with "vault:v1:" is sent to be
// decrypted. Off means min_decryption_version 2 and min_encryption_version 2,
// for which a version 2 is made with rotate the first time; on means 1 and 0.
// Version 2 encrypts nothing. What follows from that:
//
//   - Off holds for version 1 alone. Who may use the key in other ways than
//     rekey's can still encrypt under version 2.
//   - Whoever may write the key's config can switch it on again. It is a policy's
//     business who that is; see below.
//   - Rotating the key, by hand or by auto_rotate_period, changes nothing for
//     rekey. Raising min_decryption_version by hand switches the KEK off. Trimming
//     it destroys the KEK.
//   - min_encryption_version of a key made by hand comes back as 0.
//   - While it is off the server does not say when version 1 was made, so
//     Description.Created is zero.
//
// OpenBao alone has a soft delete that would be a switch. Vault lacks it, so it
// is not used; a key that was soft-deleted by hand is disabled, and to be
// restored by hand.
//
// Performance standbys and secondaries may lag: Disable returns nil only once
// encrypt and decrypt were refused several times in a row, which shows the nodes
// that answered.
//
// # Destruction
//
// Transit has no scheduler. ScheduleDestruction switches the KEK off and makes a
// second key beside it, "rekey-destroy.<key name>", that encrypts nothing: its
// time of creation, which the server sets, and its auto_rotate_period give the
// date. The alternatives are worse. The KEK's own auto_rotate_period would do
// without a second key, but somebody who sets that on all keys would have them
// destroyed; a date in a key's name has to be found by listing the mount; and a
// KV engine or key metadata need not be there.
//
// When Describe or a refused use comes after the date, it sets deletion_allowed
// and deletes the KEK. Whether the date has passed is told by the server's clock
// (the Date of its answer), never by this machine's. A caller whose policy does
// not let it delete leaves that to the next one who may: till then the KEK is
// pending and its date lies in the past. Nothing happens while nobody looks.
//
// The marker stays after the KEK is gone; that the server goes on rotating it
// changes nothing. It is why Describe can say that a KEK
// was destroyed, and why its name is never given again. Enable deletes the
// marker before it switches the KEK on. A marker deleted by hand calls the
// destruction back, but leaves the KEK off.
//
// # Tokens
//
// A token comes from a file, or from an AppRole login; files must be the owner's
// alone (0600), and are read again for each login. It is renewed after two thirds
// of its time, by the call that comes first. When the server refuses a call,
// auth/token/lookup-self tells whether the token is at fault: then there is one
// new login (or one look into the token file) and one more try; otherwise, and
// after that, it is [kms.ErrDenied]. VAULT_* variables of the environment have no
// effect, but a malformed one fails New.
//
// # Policies
//
// The folder policies holds one policy for each role of rekey, with the paths,
// capabilities and parameters that the calls need and no others. An operator's
// decrypt is held to the probe's associated_data, so it opens no content key.
// Vault cannot hold a deletion to a date: who may destroy a KEK after its date
// (the approver) can do so before.
//
// Encrypting with the capability create makes a key that is not there. The
// policies do not give it, and encrypt asks for what such a key could not be; to
// make sure, set disable_upsert in <mount>/config/keys.
//
// # Tests
//
// Not run against a real server. The tests named TestProtocol… run the real
// client over HTTP against a server written from the documents above, which
// enforces methods, paths, parameters and their types, tokens, namespaces, states
// and policies. Whatever Vault or OpenBao do otherwise than that is not tested.
// REKEY_VAULT_ADDR, with REKEY_VAULT_TOKEN_FILE and REKEY_VAULT_MOUNT, adds a run
// of the conformance suite against a real one.
//
// The package never retries a call, never touches mounts, policies or auth
// methods, and shows no token and no key bytes.
package vault
