package mcserver

import "time"

// Buffers of a connection, in bytes. With 10 000 connections two fixed buffers of 64 KiB would cost 1.3 GB, so a connection
// starts small and only grows while there is traffic.
const (
	smallBuffer = 4 << 10   // of an idle connection
	fullBuffer  = 64 << 10  // of a busy one; a larger frame gets a buffer of its size while it is received
	bufferStep  = 4         // between the usual sizes: 4, 16, 64 KiB
	shrinkAfter = 16        // reads, then the buffer becomes as small as they allow
	writeAt     = 256 << 10 // replies are written before more requests are run
	keptOutput  = 512 << 10 // larger output buffers are not kept for the next batch
	keptScratch = 64 << 10
	maxStranger = 64 << 10 // of a frame before login: nothing that bootstraps a connection is larger
	yieldBefore = 24       // requests in a row, then others get a turn before the replies are written
	yieldAlways = 256      // requests in a row, then others get a turn even if there is nothing to write
)

// maxBatch bounds the requests whose memory is touched together (kv.md 3.3).
const maxBatch = 32

// Times.
const (
	writeTimeout        = 30 * time.Second       // for one write; a client that reads slower is cut off
	idleUnauthenticated = 5 * time.Minute        // since a connection was accepted, until it has logged in
	stopGrace           = 3 * time.Second        // from the end of Run's context until connections are cut off
	refusalTimeout      = time.Second            // for telling a client that there are too many connections
	pushSpread          = 100 * time.Millisecond // over which 1000 connections learn of a new configuration
	acceptRetry         = 50 * time.Millisecond  // after an accept that failed, for want of file descriptors mostly
)

// Bounds of the memcached port, in bytes unless said otherwise.
const (
	defaultItemSize = 1 << 20 // of a value, as memcached has it
	maxItemSize     = 20 << 20
	maxLogin        = 1 << 10 // of user and password in a text connection
	maxMemLimit     = 1 << 40 // MiB that cache_memlimit may ask for
)

// Other bounds.
const (
	flushTimeout   = 30 * time.Second       // for emptying a bucket
	flushCheck     = 250 * time.Millisecond // between two looks at whether a delayed flush is due
	maxConnections = 60_000
	maxAgent       = 200     // bytes of a client's self-description that are kept
	maxLogged      = 1024    // addresses whose malformed frames are remembered, so that each is logged once a minute
	maxKeysReply   = 1 << 20 // bytes of keys in a reply of GET_KEYS
	defaultKeys    = 1000    // keys in a reply of GET_KEYS if the request does not say
	maxKeys        = 10_000
)
