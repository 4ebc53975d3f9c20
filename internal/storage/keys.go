package storage

import (
	"encoding/binary"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Every key is  bid u32 | vb u16 | kind u8 | rest , big-endian, so that a bucket, and each vBucket in it, is one contiguous
// range: dropping, copying or checking one is an operation on one span.
const (
	kindLocal  = 0x01 // rest: name
	kindByKey  = 0x02 // rest: collection u32, key
	kindBySeq  = 0x03 // rest: seqno u64
	kindEnd    = 0x05 // above every kind that exists or is reserved (04: prepares)
	bucketVB   = 0xFFFF
	nodeBid    = 0
	prefixLen  = 4 + 2 + 1
	seqKeyLen  = prefixLen + 8
	collLen    = 4
	minByKey   = prefixLen + collLen
	maxBucketN = 1<<32 - 2 // bids above do not have a successor to end their range
)

// bid is the number of a bucket within one DB, from 1 upwards.
type bid uint32

func appendPrefix(dst []byte, n bid, vb uint16, kind byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	dst = binary.BigEndian.AppendUint16(dst, vb)
	return append(dst, kind)
}

func putPrefix(dst []byte, n bid, vb vbucket.ID, kind byte) {
	binary.BigEndian.PutUint32(dst, uint32(n))
	binary.BigEndian.PutUint16(dst[4:], uint16(vb))
	dst[6] = kind
}

func seqKey(n bid, vb vbucket.ID, seqno vbucket.Seqno) []byte {
	return binary.BigEndian.AppendUint64(appendPrefix(make([]byte, 0, seqKeyLen), n, uint16(vb), kindBySeq), uint64(seqno))
}

func putSeqKey(dst []byte, n bid, vb vbucket.ID, seqno vbucket.Seqno) {
	putPrefix(dst, n, vb, kindBySeq)
	binary.BigEndian.PutUint64(dst[prefixLen:], uint64(seqno))
}

func byKeyKey(n bid, vb vbucket.ID, c docid.Collection, key []byte) []byte {
	dst := make([]byte, minByKey+len(key))
	putByKeyKey(dst, n, vb, c, key)
	return dst
}

func putByKeyKey(dst []byte, n bid, vb vbucket.ID, c docid.Collection, key []byte) {
	putPrefix(dst, n, vb, kindByKey)
	binary.BigEndian.PutUint32(dst[prefixLen:], uint32(c))
	copy(dst[minByKey:], key)
}

// localKey is the key of a row of a vBucket that is not about one document.
func localKey(n bid, vb vbucket.ID, name string) []byte {
	return append(appendPrefix(make([]byte, 0, prefixLen+len(name)), n, uint16(vb), kindLocal), name...)
}

// bucketKey is the key of a row about a whole bucket.
func bucketKey(n bid, name string) []byte {
	return append(appendPrefix(make([]byte, 0, prefixLen+len(name)), n, bucketVB, kindLocal), name...)
}

// nodeKey is the key of a row about the node.
func nodeKey(name string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, nodeBid), name...)
}

// vbSpan is the range of all rows of a vBucket.
func vbSpan(n bid, vb vbucket.ID) (start, end []byte) {
	start = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, uint32(n)), uint16(vb))
	end = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, uint32(n)), uint16(vb)+1)
	return start, end
}

// bucketSpan is the range of all rows of a bucket.
func bucketSpan(n bid) (start, end []byte) {
	return binary.BigEndian.AppendUint32(nil, uint32(n)), binary.BigEndian.AppendUint32(nil, uint32(n)+1)
}

// kindSpan is the range of all rows of one kind of a vBucket.
func kindSpan(n bid, vb vbucket.ID, kind byte) (start, end []byte) {
	return appendPrefix(nil, n, uint16(vb), kind), appendPrefix(nil, n, uint16(vb), kind+1)
}

// place says which bucket and vBucket a key belongs to; ok is false for node rows and for what is no key of ours.
func place(key []byte) (n bid, vb vbucket.ID, ok bool) {
	if len(key) < prefixLen {
		return 0, 0, false
	}
	n = bid(binary.BigEndian.Uint32(key))
	vb = vbucket.ID(binary.BigEndian.Uint16(key[4:]))
	return n, vb, n != nodeBid && vb < vbucket.MaxCount
}
