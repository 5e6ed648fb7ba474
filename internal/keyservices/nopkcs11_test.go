//go:build !pkcs11 || !cgo

package keyservices

// Without PKCS#11 there is none of its cases: make test and make keyservices
// build with it.
var tags []string

func tokens() []testCase { return nil }
