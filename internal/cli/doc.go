// Package cli is the command line: one binary, a tree of commands, each of which either runs a node (serve, demo, dev,
// test-server) or talks to one over the KV protocol and HTTP like any customer.
//
// # Nouns
//
// A Process is what the operating system gave us: arguments, streams, environment. Main runs one command of the tree in it
// and returns the exit code. An app is a Process while one command runs in it; every command gets it. A remote is the part
// of a command that names a server and who asks. A meter shows how far a long job is. A failure is an error for a person:
// what went wrong, why, what to do, and the exit code.
//
// # Rules
//
// Data goes to the standard output, everything else to the standard error. Passwords come from variables, files or a
// prompt, never from arguments, which every user of the machine can see. Nothing here is mutable package state, so that
// tests run many commands in one process. A command runs on the goroutine that called Main and owns what it starts; it
// returns when its context ends, and for the commands that keep a node that is a clean shutdown and exit code 0.
//
// Read tree.go first, then failure.go.
package cli
