package client

import "time"

// Bounds of this package.
const (
	defaultTimeout  = 10 * time.Second // of a call whose context has no deadline, and of dialling
	durableTimeout  = 30 * time.Second // what the server waits for a durable write that names no time itself
	queuedFrames    = 256              // encoded requests that wait for the writer; callers wait above it
	readBufferBytes = 64 << 10
	writeBufferMax  = 64 << 10
	maxStatsBytes   = 64 << 20 // of the replies to one STAT
	maxNamesBytes   = 255      // framing extras of one request

	minIterations = 4096 // of SCRAM: fewer would help whoever overhears the login
	maxIterations = 10_000_000

	maxRESTBody = 64 << 20
)
