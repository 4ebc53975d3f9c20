package mcserver

import (
	"encoding/binary"

	"github.com/charpoy/charpoy/internal/fault"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// request is one decoded frame of a batch. Its slices alias the connection's input.
type request struct {
	mcbp.Frame
	size  int      // bytes of input
	op    *mcbp.Op // nil: unknown opcode, or not a request at all
	infos mcbp.RequestInfos
	extra bool   // infos were sent
	key   kv.Key // for operations on documents, when fault is success and a bucket is selected

	fault mcbp.Status // found while decoding; success = none
	text  string      // its context
}

// forget drops what the last request in this place has left, which may have been another connection's.
func (q *request) forget() {
	q.key.Name, q.key.Coll = nil, 0
	if q.extra {
		q.infos, q.extra = mcbp.RequestInfos{}, false
	}
}

// work is the memory for processing: a batch of requests and their replies. It belongs to one connection at a time.
type work struct {
	requests [maxBatch]request
	keys     [maxBatch]kv.Key
	count    int  // requests in the batch
	usual    bool // requests by the session's user for the default collection need no more checks; see conn.usual

	out     []byte // replies that have not been written
	scratch []byte // for inflating values
	at      hlc.Time
	begun   int64 // monotonic time at which the batch's input had arrived, ns
	stamps  [maxBatch]stamp
	stamped int

	meta    kv.Meta  // of the document that was read last
	write   kv.Write // arguments of the engine's calls, here so that they need no allocation
	counter kv.Count
	seen    *fault.Operation // the request that the interceptor knows of; nil if there is none
	plain   *plainWork       // for the memcached port; nil until it is needed
	touched uint64           // sum of the touch pass; only there so that the pass is not optimised away
}

// stamp is a place in out where the duration of a request has yet to be written.
type stamp struct {
	at     int // −1: the reply carries none
	out    int // bytes of the reply
	kind   mcbp.Class
	class  outcome
	counts *opNumbers // of the bucket that the request was for
	op     trace.Op
	q      *request // for those who look at single requests
}

func (s *Server) takeWork() *work {
	w, _ := s.works.Get().(*work)
	return w
}

// giveBack returns w to the pool, without buffers that an unusual batch has made large.
func (s *Server) giveBack(w *work) {
	if cap(w.out) > keptOutput {
		w.out = nil
	}
	if cap(w.scratch) > keptScratch {
		w.scratch = nil
	}
	w.out, w.scratch = w.out[:0], w.scratch[:0]
	w.write, w.counter = kv.Write{}, kv.Count{}
	s.works.Put(w)
}

// reply describes the reply that stands open at the end of out, for seal.
type reply struct {
	status   mcbp.Status
	datatype value.Datatype
	cas      vbucket.CAS
	extras   int // bytes
	key      int // bytes
}

// open begins a reply: it makes room for the header and, if the connection traces, for the duration. The executor appends
// extras, key and value, then calls seal. It returns where the reply begins.
func (w *work) open(s *session) int {
	at := len(w.out)
	w.out = append(w.out, make([]byte, s.replyHead())...)
	return at
}

// seal completes the reply that began at at. The duration is written when the batch ends.
func (w *work) seal(s *session, q *request, at int, r reply) {
	head := s.replyHead()
	h := mcbp.Header{
		Magic: mcbp.MagicResponse, Opcode: q.Opcode, Datatype: uint8(r.datatype), VB: uint16(r.status), Opaque: q.Opaque,
		CAS: uint64(r.cas), FrameExtras: head - mcbp.HeaderLen, Extras: r.extras, Key: r.key,
		Body: len(w.out) - at - mcbp.HeaderLen,
	}
	if h.FrameExtras > 0 {
		h.Magic = mcbp.MagicFlexResponse
		mcbp.PutDurationInfo(w.out[at+mcbp.HeaderLen:], 0)
	}
	mcbp.PutHeader(w.out[at:], &h)
}

// empty appends a whole reply without extras, key and value.
func (w *work) empty(s *session, q *request, cas vbucket.CAS) {
	w.seal(s, q, w.open(s), reply{cas: cas})
}

// text appends a whole successful reply with a value.
func (w *work) value(s *session, q *request, dt value.Datatype, v []byte) {
	at := w.open(s)
	w.out = append(w.out, v...)
	w.seal(s, q, at, reply{datatype: dt & s.datatypes})
}

func (w *work) putUint32(v uint32) { w.out = binary.BigEndian.AppendUint32(w.out, v) }
func (w *work) putUint64(v uint64) { w.out = binary.BigEndian.AppendUint64(w.out, v) }
func (w *work) putUint16(v uint16) { w.out = binary.BigEndian.AppendUint16(w.out, v) }
