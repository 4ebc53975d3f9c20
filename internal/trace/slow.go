package trace

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the log of slow operations.
const (
	slowKept    = 1000 // in memory
	slowPerSec  = 10   // lines in the log
	slowBurst   = 100
	defaultSlow = 500 * time.Millisecond
)

// defaultThresholds are those that differ from defaultSlow.
func defaultThresholds() map[Op]time.Duration {
	return map[Op]time.Duration{
		OpSelectBucket: 10 * time.Millisecond, OpSeqnoPersistence: 30200 * time.Millisecond, OpViewQuery: 2 * time.Second,
		OpBucketCreate: 5 * time.Second, OpBucketDelete: 10 * time.Second,
	}
}

// SlowOptions of a SlowLog. The zero value works.
type SlowOptions struct {
	Node     string       // name of this node
	Logger   *slog.Logger // gets a line for each slow operation; nil: none is written
	Redactor *Redactor    // for the log; nil: a new one
	Now      func() time.Time
	// Hints names what went on between two moments, as the field during tells it. Garbage collections are found without it.
	Hints func(begin, end time.Time) []string
	// Counted is called for each slow operation, also for those that no line is written of; nil: nobody counts.
	Counted func(op Op)
}

// SlowLog keeps the operations that took longer than their thresholds: the last thousand in memory, and a line of each in
// the log as long as there are not too many. Its methods may be called from any goroutine; a nil *SlowLog finds nothing slow.
type SlowLog struct {
	options    SlowOptions
	thresholds [NumOp]atomic.Int64 // nanoseconds; index 0 is the default
	least      atomic.Int64        // of all thresholds
	setting    sync.Mutex          // held while thresholds change

	mu struct {
		sync.Mutex
		ring       []SlowOp // of slowKept at most; next is the oldest when it is full
		next       int
		seq        uint64
		tokens     float64 // lines that may be written now
		tokensAt   time.Time
		suppressed uint64 // since the last line
	}
}

// NewSlowLog makes a log with the default thresholds.
func NewSlowLog(o SlowOptions) *SlowLog {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Redactor == nil {
		o.Redactor = NewRedactor()
	}
	l := &SlowLog{options: o}
	l.mu.tokens = slowBurst
	l.setDefaults()
	return l
}

func (l *SlowLog) setDefaults() {
	for op := range l.thresholds {
		l.thresholds[op].Store(int64(defaultSlow))
	}
	for op, d := range defaultThresholds() {
		l.thresholds[op].Store(int64(d))
	}
	l.settle()
}

// settle finds the least threshold.
func (l *SlowLog) settle() {
	least := l.thresholds[0].Load()
	for op := range l.thresholds {
		least = min(least, l.thresholds[op].Load())
	}
	l.least.Store(least)
}

// Over reports whether an operation of so many nanoseconds may be slow: whether it reaches the least of all thresholds. It
// is one load, for the hot path.
func (l *SlowLog) Over(ns int64) bool { return Enabled && l != nil && ns >= l.least.Load() }

// IsSlow reports whether so many nanoseconds are slow for an operation.
func (l *SlowLog) IsSlow(op Op, ns int64) bool {
	return Enabled && l != nil && ns >= l.thresholds[min(op, NumOp-1)].Load()
}

// Thresholds gives the threshold of each operation that differs from the default, and the default.
func (l *SlowLog) Thresholds() (def time.Duration, by map[Op]time.Duration) {
	l.setting.Lock()
	defer l.setting.Unlock()
	def = time.Duration(l.thresholds[0].Load())
	by = map[Op]time.Duration{}
	for op := Op(1); op < NumOp; op++ {
		if d := time.Duration(l.thresholds[op].Load()); d != def {
			by[op] = d
		}
	}
	return def, by
}

// SetThresholds changes thresholds, from the next operation on. Operations in by get their own. With a def above 0 all
// others, and those that had the default before, get that.
func (l *SlowLog) SetThresholds(def time.Duration, by map[Op]time.Duration) {
	l.setting.Lock()
	defer l.setting.Unlock()
	old := l.thresholds[0].Load()
	for op := range l.thresholds {
		if def > 0 && l.thresholds[op].Load() == old {
			l.thresholds[op].Store(int64(def))
		}
	}
	for op, d := range by {
		if op > 0 && op < NumOp && d > 0 {
			l.thresholds[op].Store(int64(d))
		}
	}
	l.settle()
}

// SlowOp is a slow operation.
type SlowOp struct {
	Time     time.Time // when it ended; zero: now
	Op       Op
	Status   string
	Bucket   string
	VB       uint16
	Key      Key // Add copies it
	Clock    Clock
	Send     time.Duration // writing the reply, outside of the clock
	Level    string        // of durability; empty: none
	BytesIn  int
	BytesOut int
	Batch    int // requests that were answered together
	Conn     uint64
	Client   string // address without port
	LocalID  string // of the connection, as the client told it in HELLO
	Opaque   uint32
	During   []string // what else went on; Add extends it
	Victims  int      // other requests that waited with it

	seq        uint64
	suppressed uint64
}

// Add keeps a slow operation and writes its line, if there is room for one.
func (l *SlowLog) Add(op SlowOp) {
	if !Enabled || l == nil {
		return
	}
	if op.Time.IsZero() {
		op.Time = l.options.Now()
	}
	op.Key = op.Key.Clone()
	op.During = append(slices.Clip(op.During), l.during(&op)...)
	if f := l.options.Counted; f != nil {
		f(op.Op)
	}
	if l.keep(&op) && l.options.Logger != nil {
		line := op.Line(l.options.Node, l.options.Redactor, nil)
		l.options.Logger.LogAttrs(context.Background(), slog.LevelWarn, "slow operation", slog.Any("slow", line))
	}
}

// during finds what overlapped with an operation at no cost while nothing is slow.
func (l *SlowLog) during(op *SlowOp) []string {
	begin := op.Time.Add(-time.Duration(op.Clock.Dur()) - op.Send)
	var hints []string
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	for i, end := range gc.PauseEnd { // newest first
		if i < len(gc.Pause) && end.Before(begin) {
			break
		}
		if !end.Before(begin) && end.Add(-gc.Pause[i]).Before(op.Time) {
			hints = append(hints, "gc")
			break
		}
	}
	if f := l.options.Hints; f != nil {
		hints = append(hints, f(begin, op.Time)...)
	}
	return hints
}

// keep puts the operation into the ring and reports whether its line may be written.
func (l *SlowLog) keep(op *SlowOp) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := &l.mu
	m.seq++
	op.seq = m.seq
	now := l.options.Now()
	if !m.tokensAt.IsZero() {
		m.tokens = min(slowBurst, m.tokens+slowPerSec*max(0, now.Sub(m.tokensAt).Seconds()))
	}
	m.tokensAt = now
	write := m.tokens >= 1
	if write {
		m.tokens--
		op.suppressed, m.suppressed = m.suppressed, 0
	} else {
		m.suppressed++
	}
	if len(m.ring) < slowKept {
		m.ring = append(m.ring, *op)
	} else {
		m.ring[m.next] = *op
		m.next = (m.next + 1) % slowKept
	}
	return write
}

// SlowFilter says which slow operations are wanted. The zero value wants all.
type SlowFilter struct {
	Since  time.Time // those that ended after it
	Op     Op
	Bucket string
	Limit  int // the newest so many; 0: no limit
	// Allowed says of which buckets the asker may know; nil: of all.
	Allowed func(bucket string) bool
}

func (f *SlowFilter) wants(op *SlowOp) bool {
	return op.Time.After(f.Since) && (f.Op == 0 || f.Op == op.Op) && (f.Bucket == "" || f.Bucket == op.Bucket) &&
		(f.Allowed == nil || f.Allowed(op.Bucket))
}

// List gives slow operations that are still in memory, the oldest first. hide hides their keys and their clients.
func (l *SlowLog) List(f SlowFilter, hide *Redactor) []SlowLine {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	var found []SlowOp
	for i := range l.mu.ring {
		if op := &l.mu.ring[(l.mu.next+i)%len(l.mu.ring)]; f.wants(op) {
			found = append(found, *op)
		}
	}
	l.mu.Unlock()
	if f.Limit > 0 && len(found) > f.Limit {
		found = found[len(found)-f.Limit:]
	}
	lines := make([]SlowLine, len(found))
	for i := range found {
		lines[i] = found[i].Line(l.options.Node, hide, hide)
	}
	return lines
}

// SlowLine is a slow operation as users read it. Times are in microseconds, each rounded down: they differ from the sum by
// less than one microsecond a stage.
type SlowLine struct {
	Time        time.Time        `json:"time"`
	Node        string           `json:"node"`
	Op          string           `json:"op"`
	Status      string           `json:"status"`
	Bucket      string           `json:"bucket"`
	VB          uint16           `json:"vb"`
	Key         string           `json:"key"`
	DurUs       int64            `json:"dur_us"`
	StagesUs    map[string]int64 `json:"stages_us"`
	SendUs      int64            `json:"send_us"`
	Level       string           `json:"level,omitempty"`
	BytesIn     int              `json:"bytes_in"`
	BytesOut    int              `json:"bytes_out"`
	Batch       int              `json:"batch"`
	Conn        uint64           `json:"conn"`
	Client      string           `json:"client"`
	LocalID     string           `json:"local_id"`
	OperationID string           `json:"operation_id"`
	OpID        string           `json:"opid"`
	TraceID     *string          `json:"trace_id"`
	During      []string         `json:"during"`
	Victims     int              `json:"victims"`
	Suppressed  uint64           `json:"suppressed"`
}

// Line renders an operation. key hides its key and client its client's address; nil shows them.
func (op *SlowOp) Line(node string, key, client *Redactor) SlowLine {
	stages := map[string]int64{}
	for s := StageExec; s < NumStage; s++ {
		if ns := op.Clock.Stage(s); ns > 0 || s <= StageLock {
			stages[s.String()] = ns / 1000
		}
	}
	return SlowLine{
		Time: op.Time.UTC(), Node: node, Op: op.Op.String(), Status: op.Status, Bucket: op.Bucket, VB: op.VB,
		Key: key.Key(op.Key), DurUs: op.Clock.Dur() / 1000, StagesUs: stages, SendUs: op.Send.Microseconds(), Level: op.Level,
		BytesIn: op.BytesIn, BytesOut: op.BytesOut, Batch: op.Batch, Conn: op.Conn, Client: client.Text(op.Client),
		LocalID: op.LocalID, OperationID: "0x" + strconv.FormatUint(uint64(op.Opaque), 16),
		OpID: node + "-" + strconv.FormatUint(op.seq, 16), During: append([]string{}, op.During...), Victims: op.Victims,
		Suppressed: op.suppressed,
	}
}

// LogValue gives the line to a logger as a group, with the names that it has in JSON and the stages in their order.
func (l SlowLine) LogValue() slog.Value {
	stages := make([]slog.Attr, 0, len(l.StagesUs))
	for s := StageExec; s < NumStage; s++ {
		if us, ok := l.StagesUs[s.String()]; ok {
			stages = append(stages, slog.Int64(s.String(), us))
		}
	}
	return slog.GroupValue(
		slog.Time("time", l.Time), slog.String("node", l.Node), slog.String("op", l.Op), slog.String("status", l.Status),
		slog.String("bucket", l.Bucket), slog.Uint64("vb", uint64(l.VB)), slog.String("key", l.Key), slog.Int64("dur_us", l.DurUs),
		slog.Attr{Key: "stages_us", Value: slog.GroupValue(stages...)}, slog.Int64("send_us", l.SendUs),
		slog.String("level", l.Level), slog.Int("bytes_in", l.BytesIn), slog.Int("bytes_out", l.BytesOut),
		slog.Int("batch", l.Batch), slog.Uint64("conn", l.Conn), slog.String("client", l.Client),
		slog.String("local_id", l.LocalID), slog.String("operation_id", l.OperationID), slog.String("opid", l.OpID),
		slog.Any("trace_id", l.TraceID), slog.Any("during", l.During), slog.Int("victims", l.Victims),
		slog.Uint64("suppressed", l.Suppressed),
	)
}
