package trace

import "time"

// Clock divides the time of one operation into stages. It is owned by one goroutine at a time and handed over with the
// operation. Times are readings of one monotonic clock in nanoseconds, which the caller makes, so that several clocks can
// share a reading.
//
// Mark gives the time since the last mark to a stage and moves the mark, so the stages always add up to the duration. Of
// waits that run side by side (this disk, other copies) each marks its own stage when it ends, in the order of ending: the
// one that ends last gets only the time by which it was later, which is the critical path.
type Clock struct {
	start, last int64
	stages      [NumStage]int64
}

// Start begins an operation.
func (c *Clock) Start(now int64) { *c = Clock{start: now, last: now} }

// Mark ends a stage. A reading that is older than the last one counts as that.
func (c *Clock) Mark(s Stage, now int64) {
	if now > c.last {
		c.stages[s] += now - c.last
		c.last = now
	}
}

// Dur is the time from Start to the last mark, in nanoseconds.
func (c *Clock) Dur() int64 { return c.last - c.start }

// Stage is the time that went to a stage, in nanoseconds.
func (c *Clock) Stage(s Stage) int64 { return c.stages[s] }

// Fire fires op-stage for each stage with time in it. Call it if OpStage.On.
func (c *Clock) Fire(sh *Shard, op Op, bucket Text, vb uint16) {
	for s, ns := range c.stages {
		if ns > 0 {
			OpStage.Fire(sh, Stage(s), time.Duration(ns), op, bucket, vb)
		}
	}
}

// OpByOp reports whether somebody wants records of single operations, so that each has to be timed by itself.
func OpByOp() bool { return OpDone.On() || OpStage.On() }

// Recorder is a histogram of nanoseconds: package metrics has them.
type Recorder interface{ RecordMany(ns, n uint64) }

// Stages are the histograms of stages, one each. A nil *Stages counts nothing. It may be used from any goroutine.
type Stages struct{ histograms [NumStage]Recorder }

// NewStages makes them. histogram is called with the name of each stage.
func NewStages(histogram func(stage string) Recorder) *Stages {
	s := &Stages{}
	for i := StageExec; i < NumStage; i++ {
		s.histograms[i] = histogram(i.String())
	}
	return s
}

// Add counts n operations that each spent ns nanoseconds in a stage. Operations without time in it are not counted.
func (s *Stages) Add(stage Stage, ns int64, n int) {
	if !Enabled || s == nil || ns <= 0 || n <= 0 {
		return
	}
	s.histograms[stage].RecordMany(uint64(ns), uint64(n))
}

// AddClock counts an operation that had a Clock of its own.
func (s *Stages) AddClock(c *Clock) {
	if !Enabled || s == nil {
		return
	}
	for stage, ns := range c.stages {
		s.Add(Stage(stage), ns, 1)
	}
}
