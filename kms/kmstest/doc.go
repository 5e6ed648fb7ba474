// Package kmstest is the conformance suite for key providers: what package
// keyring relies on, whatever the provider. A provider's test calls [Run].
//
// It follows the promises of package kms, and never looks inside a provider.
package kmstest
