// Package value knows the forms in which a document's value is sent and stored: its datatype bits, Snappy compression with
// a checked declared length, and the section of extended attributes in front of the body (wire.md 12).
package value

// Datatype describes the bytes of a value. The bits are those of the wire and of the disk format.
type Datatype uint8

// The datatype bits.
const (
	JSON   Datatype = 1 // the inflated body is valid JSON
	Snappy Datatype = 2 // the whole value, attributes included, is a Snappy block
	Xattr  Datatype = 4 // the inflated value begins with a section of extended attributes

	AllBits = JSON | Snappy | Xattr
)
