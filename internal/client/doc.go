// Package client is our own client of the wire: the binary KV protocol of one node and the management API. The node itself
// uses it where it must be a client like any other (documents over HTTP, with the caller's own rights), and so do the
// commands, the console in a terminal and the tests. What it knows it knows from the protocol alone.
//
// # Nouns
//
// A Conn is one connection to a KV port, logged in and, if wanted, with a bucket selected. With says what is special about
// one call: a CAS, an expiry, a durability level, the user to act for. A Doc is what a read answers, a Written what a change
// answers. A Pool keeps one Conn for each bucket and dials again after a loss. A REST speaks the management API.
//
// # Rules
//
// A Conn may be used by any number of goroutines: their requests are pipelined on one connection and answered as replies
// come. Each call takes a context and ends with it; a call that ends early leaves its request behind, which the server may
// still carry out. When the connection is lost, every waiting call fails with ErrConnection and so does every later one; a
// Conn does not come back, a Pool dials a new one. Keys are those of the default collection. Values and keys handed in are
// lent for the call; what comes back belongs to the caller.
//
// A Conn has one lock, which guards the calls that wait; it is never held over I/O. One goroutine writes and one reads; Close
// waits for both.
//
// An error of the server is a *StatusError or a *RESTError; errors.Is compares either with the sentinels of errors.go.
//
// Read conn.go first, then document.go.
package client
