// Package watch turns what is on the audit log, in the key records and in this
// process into metrics (the Prometheus text format) and events that are posted to
// a webhook: a compromised key asked for outside its rotation, a burst of refused
// access, a key opened from a new origin, keys near their expiry, errors of a key
// service, a checkpoint that was not written. The rules that alert on the metrics
// are in deploy/alerts.
//
// A watcher reads the records of all writers, so any number of processes may
// watch one control store; each then counts and posts the same events, with the
// same ids where they come from one record. Errors of a key service are those of
// the process alone.
//
// Counters begin at zero with the process. The watcher remembers in
// watch/origins.json how far it had read, and takes up from there: the newest few
// thousand records since then count, with a minute of overlap, and what is older
// does not. A first watcher counts from its start on. Where counting began is in
// rekey_watch_tail_start_timestamp_seconds.
//
// What it goes by is what is on record. Whoever goes around the ring leaves
// nothing there, and shows in the key service's own log only; whoever may write
// the control store may also make an origin known. It judges nothing by itself,
// refuses nothing and changes no key; it writes one object and holds no keys.
// No metric has a KID, a person or an address for a label, and no event has key
// bytes. A webhook that does not answer never holds up the watching.
//
// Events are signed with HMAC-SHA256 (FIPS 198-1). It runs under
// GODEBUG=fips140=only, the Prometheus client included.
package watch
