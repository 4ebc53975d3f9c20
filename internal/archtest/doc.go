// Package archtest holds the module to its import law, layers.txt. It has no product code: its test reads the law and the
// output of `go list` and says which package broke which rule and how the law would have to be read.
//
// The file layers.txt states the rules; walls.go has those that must hold through intermediate packages. Read law.go
// first.
package archtest
