// Package mcbp is the memcached binary protocol with the extensions that Couchbase SDKs use: bytes to frames and back, and
// the tables that say what each opcode, status and feature means (wire.md 3, 4, 7, 14).
//
// # Nouns
//
// A Frame is one request or response; its slices point into the buffer that it was decoded from. An Op is the line of an
// opcode in the one table that validation, privileges, metrics names and fuzz corpora are made from. A Status is what a
// response says; the table of statuses is also the error map that clients download. Framing extras ("frame infos") are the
// small tagged fields in front of a request's or response's own extras. A Feature is what HELLO negotiates.
//
// # Rules
//
// Nothing here does I/O, keeps state or starts goroutines; all functions may be called from any goroutine. Decoding never
// allocates and never trusts a length that it has not compared with what is there. Encoding appends to the caller's slice.
// Vocabulary of other packages (vBuckets, datatypes, durability) appears here as the plain numbers of the wire.
//
// Read frame.go first, then optable.go.
package mcbp
