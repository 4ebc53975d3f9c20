// Package mctext is the codec of memcached's text protocols: the ASCII commands and the meta commands that share their
// connection (wire.md 22.2 to 22.6, memcached's doc/protocol.txt of version 1.6). It looks at bytes and makes bytes; it knows
// no documents, no sockets and no clock.
//
// # Nouns
//
// A Command is one parsed request: its verb, its key or keys, its numbers, its data block. A Flag is one of a meta command's
// options, kept in the order in which the client sent it, because replies repeat that order. A fault is the error line that a
// malformed command is answered with; the command is consumed all the same, so that its connection goes on. A Skip is input
// that belongs to a refused command and is thrown away as it arrives.
//
// # Invariants
//
// Parse allocates nothing and changes nothing in its input: it may be called again with the same bytes. Slices of a Command
// alias the input, except Key of a base64 key, which lies in the Command itself. Where the input is cut into pieces does not
// change which commands come out of it, nor their faults. Parse never reports more bytes than it was given.
//
// Nothing here is safe for concurrent use of one value, and nothing is shared between values.
//
// Read command.go first, then parse.go and meta.go; reply.go is the other direction.
package mctext
