// Package store holds objects: in a directory ([Dir]) or in S3 ([S3]). Both keep
// one contract, written on the methods of [Reader] and [Writer], and one suite
// (store/storetest) runs on both.
//
// Every write is whole or absent, and durable when Put returns. Conditional
// writes are what the rest of rekey stands on: create-only and If-Match hold
// against other processes too. To write what is written once, use [PutOnce]; to
// read an object into a pooled buffer, [ReadAll]. What servers of one's own lack of
// S3, [Probe] finds: whoever opens a store to write says it at the start, and goes
// no further where [Capabilities.Check] refuses.
//
// Old ciphertext also stands in older versions ([Versions]) and in uploads that
// were never completed ([Uploads]); large objects are written in parts ([Uploader]).
//
// It never interprets what it stores, never follows a key or a symbolic link out
// of its root, never logs, and never tries a conditional write again whose answer
// was lost: that is ErrUnavailable, and the caller looks what stands.
//
// Conditions and ranges follow RFC 9110 §13 and §14 as Amazon S3 keeps them;
// checksums are CRC-64/NVME, spelled as S3 spells them.
package store
