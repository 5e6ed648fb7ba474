// Package aws wraps content keys under keys of AWS KMS, through AWS's own client
// (aws-sdk-go-v2/service/kms).
//
// A KEK is one symmetric KMS key (SYMMETRIC_DEFAULT) and its id is "aws-kms:" and
// the key's ARN, never an alias: an alias can be led to another key.
// [Provider.Create] makes a key for each KEK, without automatic rotation, with
// the alias "alias/rekey-<name>" and the description "rekey KEK <name>". Any
// other symmetric KMS key can be used as well. Calls go to the region that the
// ARN names.
//
// Bound to KID and KEK: the encryption context is [kms.Context] as it is, and
// Decrypt names the key instead of letting the service choose it by the
// ciphertext. The encryption context is written to CloudTrail in the clear; it
// holds nothing secret.
//
// Off means off: changes of a key spread within seconds, sometimes minutes
// (https://docs.aws.amazon.com/kms/latest/developerguide/programming-eventual-consistency.html).
// [Provider.Disable] therefore encrypts a probe first, and returns nil only once
// several encryptions and decryptions in a row were refused for the key's state;
// a refusal for want of permission counts for nothing. That shows the front ends
// that answered, not all that AWS has.
//
// Destruction: AWS waits for at least 7 days, which is what Options takes where
// none is given, and at most 30. A key that was called back is disabled in AWS;
// [Provider.Enable] enables it, too.
//
// A name is taken by an alias, after the key is made. If that fails, the key is
// scheduled for deletion, or disabled where that is denied. If the answer to
// CreateKey is lost, an enabled key without an alias stays behind; its
// description tells.
//
// It never retries a call, never changes key policies, grants or rotation, never
// deletes an alias, and shows no key bytes: the client's body logging, which
// prints plaintexts, is switched off. AWS_ENDPOINT_URL, which leads the object
// store's client to its server, is not followed: keys would go there.
// AWS_ENDPOINT_URL_KMS and [Options] are.
//
// The folder policies holds one IAM policy for each role of rekey, with the
// actions that the calls need and no others. Encryption contexts keep the roles
// apart: only the worker encrypts and decrypts content keys, while operator and
// approver can do so with probes alone. The policies take effect where the key
// policy leaves access to IAM, as that of a key from Create does, and hold for
// every KMS key of the account: give KEKs an account of their own, or name their
// ARNs. An operator may have keys without an alias deleted, and no others.
//
// Run in tests against local-kms, which stands in for AWS; where it differs from
// what AWS documents, and for permissions, spreading and faults, the tests put
// AWS's answers in between. Not run against AWS itself.
package aws
