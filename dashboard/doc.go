// Package dashboard is what is looked at and asked for over HTTP: the queue page
// behind a token, and the API for those who hold roles (package access).
//
// What needs a second person (the export and the destruction of keys, a backup, a restore,
// the end of a KEK) is done here alone once roles are in force: the approval is
// signed by the key of this process, and used up before the deed is done. A
// restore's shares come sealed to a key of this process.
//
// It shows names and counts; the one answer that holds a key is that of an
// approved export, and that of an approved backup holds all of them under its master,
// and the secret of its second factor.
package dashboard
