// Package data is the data plane of one node: it carries out what an Assignment says. Buckets that are assigned are opened
// and kept running, buckets that are gone are ended and their documents dropped, vBuckets get their states, settings are
// changed live, and what came of it goes up as a Report.
//
// A Node is an actor: Run owns every goroutine of the data plane, the buckets' own included. Apply only leaves the newest
// Assignment in a mailbox; Run takes it from there, so applying is never concurrent with itself and nobody waits for it.
// Faces (mcserver) find buckets with Node.Bucket and hear of new assignments with Subscribe.
//
// The data plane knows nothing of who made the Assignment: it never sees the cluster store.
//
// Read node.go first, then apply.go.
package data
