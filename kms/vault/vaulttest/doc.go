// Package vaulttest is a server with the transit engine for tests, written from
// the documents that package vault names and not from Vault's code. It is
// stricter than they are: parameters that an endpoint does not document are
// refused, where Vault ignores them. It holds keys in memory and listens on
// loopback, over TLS. That a client works with it does not show that it works
// with Vault.
//
// Only tests import it.
package vaulttest
