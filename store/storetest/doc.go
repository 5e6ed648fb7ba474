// Package storetest is what tests of stores, and of what stands on them, share:
// the suite that every store.Store passes ([Run]), and a store whose calls a test
// can fail, and whose bodies it can damage ([Faulty]).
package storetest
