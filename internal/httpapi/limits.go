package httpapi

import "time"

// Bounds of what a request may take (architecture.md 10).
const (
	maxHeader      = 64 << 10
	headerTime     = 10 * time.Second
	bodyTime       = 2 * time.Minute // for a body to arrive; longer than any wait below, since it is not lifted before the answer
	writeTime      = 3 * time.Minute // from the header to the end of the answer, streams left out
	idleTime       = 2 * time.Minute
	maxConnections = 10_000   // of each port, TLS included
	maxForm        = 1 << 20  // body of a management request
	maxFields      = 256      // fields of a form
	maxDocument    = 21 << 20 // body of a document: the largest value, and room for the answer 413 to come from the engine
	stopTime       = 5 * time.Second
	maxStreams     = 1000 // streaming configurations at once
	maxNameInPath  = 1024

	createWait  = 5 * time.Second  // for a new bucket to be usable before its 202
	settleWait  = 2 * time.Second  // for the data plane to know of changed users
	dropWait    = 30 * time.Second // for a dropped bucket to be gone before its 200
	flushWait   = 60 * time.Second
	docTime     = 10 * time.Second
	sendTime    = 10 * time.Second // for a client to take one configuration of a stream
	streamEvery = 10 * time.Second

	deepTime  = 2 * time.Second  // for a write and fsync
	deepFresh = 10 * time.Second // how long its result is good
	readyTime = 2 * time.Second
)
