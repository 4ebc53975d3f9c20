// Package mcserver is the face that SDKs talk to: the memcached binary protocol with Couchbase extensions over TCP and TLS
// (wire.md 2 to 14), and on a port of its own plain memcached: ASCII, meta and classic binary (wire.md 22). It owns sockets, sessions, privileges checks and the table of statuses; what an operation does to a
// document is the business of package kv.
//
// # Nouns
//
// A Server has listeners and connections. A conn is one client connection; exactly one goroutine runs it: it reads what
// has arrived, processes every complete request in order, appends all replies to one buffer, and writes once. What HELLO,
// SASL and SELECT_BUCKET have settled is the conn's session. A work is the memory that processing needs, taken from a pool
// while there is something to do, so that idle connections stay small. A request is one decoded frame with its line of the
// opcode table; an executor carries it out, in the order of checks of wire.md 3.5.
//
// # Invariants
//
// Requests of one connection are executed and answered in order. process does no I/O on the socket: bytes in, bytes out;
// tests and fuzzing drive it without a network. Everything a client can make grow has its number in limits.go. Errors become
// statuses in status.go and nowhere else. A panic in parsing closes its connection; a panic anywhere else ends the process,
// because it may have happened under a lock.
//
// # Goroutines
//
// One for each listener and each connection, one that tells connections of new configurations, one that ends connections
// when the server stops; Run owns and awaits them all. A session is touched by its connection's goroutine only. The others
// reach it by setting nudged and then the read deadline, which wakes the goroutine out of Read. Published configurations
// are immutable values behind an atomic pointer.
//
// The server's one lock guards the set of connections; it is never held while anything else is called.
//
// Read conn.go first, then process.go, dispatch.go and get.go; for the memcached port text.go, textrun.go and classic.go.
package mcserver
