// Package keyring keeps content-key records: the wrapped key, its state, and
// what each state allows. A record is one JSON object, keys/<kid>.json, in the
// control store; it is made create-only and changed only by conditional writes,
// so that of two who change it at once one wins and the other decides again.
//
// Every key that enters or leaves the ring, every change of state and every
// refusal is on the audit log first: where the log cannot be written, nothing
// happens. A [Ring] holds no keys between calls; raw keys are never written,
// and are in no error. It does not encrypt media and does not judge who may
// call.
//
// States and what they permit follow NIST SP 800-57 part 1 rev. 5 §7: an active
// key protects and processes; a deactivated one (§7.3 "suspended or
// deactivated") only processes what is already protected; a compromised one
// (§7.5) protects nothing from now on and is processed only under control:
//
//	state        encrypt  decrypt-rekey  deliver  export  verify
//	active       yes      yes            yes      yes     yes
//	deactivated  no       yes            yes      yes     yes
//	compromised  no       rotation       yes      no      yes
//
// "rotation": only for a rotation that is named. A compromised key is delivered
// on until its media is purged, so that nobody's screen goes black.
//
// Transitions (§7, figure 2): active to deactivated, active to compromised,
// deactivated to compromised. There is no way back.
//
// A key that HLS knows by a URI has a second object, key-uris/<sha256>.json, which
// says whose URI that is.
//
// A wrapped key is bound to its KID by the provider (package kms), so a record
// that is moved to another name opens nothing. The state in a record is not
// bound to anything: whoever can write the control store can change it.
package keyring
