// Package node puts one node together: every part is built here by hand, in an order that one can read, and stopped in
// reverse. There is no logic here beyond that order; agent.go is the only place where the cluster plane and the data plane
// meet.
//
// Open builds everything and binds the ports, Run runs it, Ready tells when a key-value operation would succeed. An error of
// storage that cannot be survived (a failed fsync) ends Run with a *FatalError; the command exits with its own code then.
//
// Read node.go first.
package node
