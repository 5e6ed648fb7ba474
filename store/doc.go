// Package store holds objects: in a directory or in S3. Both keep one contract,
// and one suite (store/storetest) runs on both.
//
// Every write is whole or absent. Conditional writes are what the rest of rekey
// stands on: create-only and If-Match hold against other processes too.
//
// It never interprets what it stores, and it never follows a key out of its
// root.
package store
