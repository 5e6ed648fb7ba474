// Package keyring keeps content-key records: the wrapped key, its state, and
// what each state allows. A record is one JSON object, keys/<kid>.json, in the
// control store; it is made create-only and changed only by conditional writes,
// so that of two who change it at once one wins and the other decides again.
//
// Every key that enters or leaves the ring, every change of state and every
// refusal is on the audit log first: where the log cannot be written, nothing
// happens. A [Ring] holds no content keys between calls, a [Cache] holds those of
// a worker's open rotations for minutes; raw keys are never written, and are in
// no error. It does not encrypt media and does not judge who may call.
//
// States and what they permit follow NIST SP 800-57 part 1 rev. 5 §7: a key that
// is not active yet (§7.1) does nothing; an active one (§7.2) protects and
// processes; a suspended (§7.3) or deactivated one (§7.4) only processes what is
// already protected; a compromised one (§7.5) protects nothing from now on and is
// processed only under control; of a destroyed one (§7.6) the record is left:
//
//	state           encrypt  decrypt-rekey  deliver  export  verify
//	pre-activation  no       no             no       no      no
//	active          yes      yes            yes      yes     yes
//	suspended       no       yes            yes      no      yes
//	deactivated     no       yes            yes      yes     yes
//	compromised     no       rotation       yes      no      rotation
//	destroyed       no       no             no       no      no
//
// "rotation": only to a worker, for a rotation of this key that is open, within a
// bounded time of its start. A compromised key is delivered on until its media is
// purged, so that nobody's screen goes black. An active key whose time is up
// counts as deactivated from that moment; but the rotation that made it may end
// what it began, while it is open: it still encrypts under it.
//
// Transitions (§7, figure 3):
//
//	pre-activation  active compromised destroyed
//	active          suspended deactivated compromised
//	suspended       active deactivated compromised
//	deactivated     compromised destroyed
//	compromised     destroyed
//
// Each is an event of the record, numbered. From the second on an event stands in
// an object of its own beside the audit log first (audit/states/), and counts
// from there: records that are put back from an old copy do not bring an old
// state back.
//
// A key that HLS knows by a URI has a second object, key-uris/<sha256>.json, which
// says whose URI that is. One value under several KIDs is found by a keyed
// fingerprint (key-values/). Secrets that are no content keys stand in secrets/.
//
// A wrapped key is bound to its KID by the provider (package kms), so a record
// that is moved to another name opens nothing. Which KEK new wraps are under is
// in kek.json; [Ring.RewrapAll] moves everything there and [Ring.DisableKEK]
// refuses to switch off one that something is under, or may be, unless it is told
// to go on [Ring.WithoutUnreadable]. Records keep the KEKs that they were under. Whoever can write the
// control store, the audit log's folder among it, can change states; the log's
// checkpoints show it.
package keyring
