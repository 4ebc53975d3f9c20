// Package trace makes visible what the server does, at no cost while nobody looks.
//
// # Nouns
//
// A probe is a place in the code with a name and typed fields; table.go lists all of them. A gate is one word per probe and
// process: while it is 0 a probe costs one load and one branch. A Node is the node that a probe fires for: it owns the sinks
// of those who want to see the records. A Shard belongs to a worker (a connection, a flusher) and holds the one scratch
// Record that its fires are written into. A Batch is the stage clock of the requests that a connection read together; a
// Clock is that of one operation; Waits is where code deep below a request leaves what it waited for. The SlowLog keeps the
// operations that took long.
//
// # Invariants
//
//   - Names, order, types and units of probes and fields are an interface for users. TestGenerated fails when they change.
//   - Firing allocates nothing, reads no clock and formats no text.
//   - The stages of a Clock add up to its duration, to the nanosecond.
//   - Keys of documents and addresses of clients leave the package as hashes, unless the asker may see them (see Redactor).
//
// # Concurrency
//
// Gates, Node, Shard and SlowLog may be used from any goroutine. A Batch, a Clock and Waits belong to one goroutine at a
// time. A sink runs on the goroutine that fires, with the shard's lock and perhaps locks of the engine held: it must be
// quick, must not block and must not fire.
//
// # Building
//
// The build tag noprobes makes Enabled false, and then everything here that a hot path calls compiles to nothing. It exists
// to measure what the package costs; it is not a way to run the product.
//
// Read table.go and types.go first, then node.go, then clock.go and batch.go, then slow.go. probes_gen.go, docs/probes.md and
// testdata/probes.json (a JSON schema of records) are written by `go generate` from the tables in table.go and enums.go.
package trace

//go:generate go test -count=1 -run ^TestGenerated$ . -update
