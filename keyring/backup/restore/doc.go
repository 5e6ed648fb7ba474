// Package restore puts a backup back into a ring, for the command line and for
// the server alike: it takes each code of the second factor once, bounds how many
// are tried, and restores no entry before the whole backup has proved authentic.
// What was done stands in the control store:
//
//	restores/<fingerprint>/<counter>            there: the code of that counter was taken
//	restores/<fingerprint>/tries/<request>/<n>  there: the n-th code was tried
//	corrupt/<record>/<SHA-256>                   a record that did not decode and was replaced
//
// It never opens a share, asks nobody, and writes no audit record of its own but of a
// record that it replaces: the ring records each key, its callers the rest. A control store that is new, or
// that somebody deletes from, knows no codes that were taken before.
package restore
