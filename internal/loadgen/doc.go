// Package loadgen makes load for key-value servers and measures what comes back: operations a second, latency percentiles
// and, for a server on the same machine, its CPU time an operation. It speaks the memcached binary protocol (plain and
// quiet), the meta and the ASCII protocol, and RESP, so that servers of different kinds are asked the same things by the same
// client. It has to cost less than what it measures, or it would measure itself.
//
// # Nouns
//
// A Workload is what will be asked, independent of protocol and server: keys, values, the share of reads, and a table of
// samples drawn in advance. A sample is one operation packed into 64 bits: the key's index, its vBucket, what to do, and
// which size of value. A Generator aims one Workload at one server. A batch is d samples that one connection sends with one
// write; in the closed loop it waits for all d replies before the next one. A stream is the state of one connection between
// its reads: which replies of its batch are still to come. A codec knows how requests are made and where replies end.
//
// # How it stays cheap
//
// Requests are templates, copied and patched in a few places: the eight hex digits of the key, the vBucket, the opaque.
// Replies are skipped by the length they announce; only their status is looked at, unless Verify asks for the bodies too.
// On Linux all connections share one epoll instance, one thread, one buffer to read into and one to build requests in, so
// that the memory touched does not grow with the connections. Nothing is allocated after the first batches.
//
// # Invariants
//
// Every operation that is counted was answered; none is counted twice. At the end of a run no new batch is begun, the replies
// outstanding are awaited, and only then are the clocks read. Latency in the open loop counts from the moment at which the
// operation should have been sent, so that a server that stalls cannot hide it by slowing the generator down.
//
// # Concurrency
//
// A Workload is immutable and may be shared. A Generator runs one thing at a time; Done may be read meanwhile by anybody. The
// plain engine, used for TLS and on other systems, has one goroutine a connection; Run owns and awaits them.
//
// Read options.go first, then workload.go, codec.go and engine_linux.go.
package loadgen
