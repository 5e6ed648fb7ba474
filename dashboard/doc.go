// Package dashboard is what a person looks at over HTTP: for now the queue
// page, behind a token.
//
// It shows names and counts; no key, wrapped or not, ever reaches it, because
// none is in the queue.
package dashboard
