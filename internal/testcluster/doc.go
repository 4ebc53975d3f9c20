// Package testcluster runs real nodes inside a process that tests something, and gives it powers over them that no client has:
// to move their clock, to make operations fail, to take a snapshot of all documents and go back to it, to kill, stall and
// restart a node, and to see what clients really sent. Package charpoytest is its public face for Go, the control channel of
// `charpoy test-server` the one for every other language.
//
// It is the product's own code from the socket to the table of items; only what a node stands on is replaced: the clock, the
// sockets (real ones, behind a gate), the disk.
//
// # Nouns
//
// A Cluster is what Start starts; one of several nodes is planned, and the methods name the node that they concern. A Node has
// one life after the other: Restart begins the next one on the same ports. A life that keeps its documents on a file system
// (MemoryDisk, Directory) finds them again. The gate is between a life and the network: shut, clients wait; cut, their
// connections end. Rules say which operations fail and how, the Journal has the newest operations of clients. The cluster's own
// connections are in neither.
//
// # Invariants
//
// A Cluster has no state outside itself, so that any number can live in one process. Close ends everything that Start and
// Restart began and says which of its goroutines did not end. Whatever Advance does, no CAS value is given twice and none goes
// back.
//
// All methods may be called from any goroutine; Kill, Pause, Resume, Restart and Close of one node wait for each other. Read
// cluster.go first, then node.go and rules.go.
package testcluster
