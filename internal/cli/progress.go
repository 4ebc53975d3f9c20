package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// The width of a bar: what the figures leave of the narrowest usual terminal, in which a longer line would break and be
// drawn again and again below itself.
const (
	lineColumns  = 79
	barColumns   = 16
	leastColumns = 5
)

// How often the three forms of progress are renewed.
const (
	barInterval  = 200 * time.Millisecond
	lineInterval = 5 * time.Second
	rateWindow   = 10 * time.Second // the rate shown is that of about this much time
)

// meterStyle is how a meter shows itself.
type meterStyle int

const (
	meterBar    meterStyle = iota // one line of a terminal, drawn again and again
	meterLines                    // one line each 5 s
	meterEvents                   // one JSON object each 5 s
	meterSilent
)

// meter shows how far a long job is: percent, rate, time left, bytes. The job calls update whenever it likes, from any
// goroutine; the meter draws only as often as its style allows.
type meter struct {
	w     io.Writer
	style meterStyle
	label string
	now   func() time.Time

	mu struct {
		sync.Mutex
		start, drawn time.Time
		before       meterState // what an earlier run has done
		state        meterState
		samples      []meterSample // of the last rateWindow, the oldest first
		ended        bool
		width        int // columns that the last bar took
	}
}

// meterState is how far the job is. Percent and time left are those of Done and Total, whose unit is the job's own: bytes
// of a file that were read, vBuckets that are finished.
type meterState struct {
	Docs, Bytes, Failed int64
	Done, Total         int64 // Total 0: unknown
}

type meterSample struct {
	at time.Time
	meterState
}

// meterEvent is the line of a meter with -o json. The names are documented and stable.
type meterEvent struct {
	Event   string  `json:"event"` // progress, done, stopped
	Label   string  `json:"label"`
	Docs    int64   `json:"docs"`
	Bytes   int64   `json:"bytes"`
	Failed  int64   `json:"failed,omitempty"`
	Percent float64 `json:"percent,omitempty"` // absent if unknown
	Rate    float64 `json:"docs_per_second"`
	ETA     float64 `json:"eta_seconds,omitempty"` // absent if unknown
	Seconds float64 `json:"seconds"`
}

// newMeter starts a meter.
func newMeter(w io.Writer, style meterStyle, label string, now func() time.Time) *meter {
	m := &meter{w: w, style: style, label: label, now: now}
	m.mu.start = now()
	m.mu.drawn = m.mu.start
	m.mu.samples = []meterSample{{at: m.mu.start}}
	return m
}

// meter makes the meter that suits the stream and what the person asked for.
func (a *app) meter(label string, events bool) *meter {
	style := meterLines
	switch {
	case a.common.Quiet:
		style = meterSilent
	case events:
		style = meterEvents
	case terminal(a.Stderr):
		style = meterBar
	}
	return newMeter(a.Stderr, style, label, a.Now)
}

// resume says what an earlier run has already done, so that the rate is that of this run alone.
func (m *meter) resume(s meterState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.before, m.mu.state = s, s
	m.mu.samples = []meterSample{{at: m.mu.start, meterState: s}}
}

// update says how far the job is.
func (m *meter) update(s meterState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.mu.state = s
	interval := lineInterval
	if m.style == meterBar {
		interval = barInterval
	}
	if m.mu.ended || now.Sub(m.mu.drawn) < interval {
		return
	}
	m.mu.drawn = now
	m.sampleLocked(now)
	m.drawLocked("progress", now)
}

// end draws the last state: with done it says what the whole job took. It may be called again without effect.
func (m *meter) end(done bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.ended {
		return
	}
	m.mu.ended = true
	event := "stopped"
	if done {
		event = "done"
	}
	m.mu.samples = []meterSample{{at: m.mu.start, meterState: m.mu.before}} // the mean of the whole run
	m.drawLocked(event, m.now())
}

func (m *meter) sampleLocked(now time.Time) {
	m.mu.samples = append(m.mu.samples, meterSample{at: now, meterState: m.mu.state})
	for len(m.mu.samples) > 2 && now.Sub(m.mu.samples[1].at) >= rateWindow {
		m.mu.samples = m.mu.samples[1:]
	}
}

// figuresLocked computes rate, percent and time left. Unknown ones are negative.
func (m *meter) figuresLocked(now time.Time) (rate, percent float64, left time.Duration) {
	s, first := m.mu.state, m.mu.samples[0]
	percent, left = -1, -1
	span := now.Sub(first.at).Seconds()
	if span > 0 {
		rate = float64(s.Docs-first.Docs) / span
	}
	if s.Total > 0 {
		percent = min(100, 100*float64(s.Done)/float64(s.Total))
		if speed := float64(s.Done-first.Done) / max(span, 1e-9); span > 0 && speed > 0 {
			left = time.Duration(float64(max(0, s.Total-s.Done)) / speed * float64(time.Second))
		}
	}
	return rate, percent, left
}

func (m *meter) drawLocked(event string, now time.Time) {
	if m.style == meterSilent {
		return
	}
	rate, percent, left := m.figuresLocked(now)
	s := m.mu.state
	if m.style == meterEvents {
		e := meterEvent{
			Event: event, Label: m.label, Docs: s.Docs, Bytes: s.Bytes, Failed: s.Failed,
			Rate: rate, Seconds: now.Sub(m.mu.start).Seconds(), Percent: max(0, percent), ETA: max(0, left.Seconds()),
		}
		line, err := json.Marshal(e)
		if err == nil {
			fmt.Fprintf(m.w, "%s\n", line)
		}
		return
	}
	text := m.textLocked(event, rate, percent, left, now)
	if m.style == meterLines {
		fmt.Fprintln(m.w, text)
		return
	}
	if columns := min(barColumns, lineColumns-len(text)-len("[] ")); percent >= 0 && event == "progress" && columns >= leastColumns {
		text = bar(percent, columns) + " " + text
	}
	pad := max(0, m.mu.width-len(text))
	m.mu.width = len(text)
	fmt.Fprintf(m.w, "\r%s%s", text, strings.Repeat(" ", pad))
	if event != "progress" {
		fmt.Fprintln(m.w)
	}
}

// textLocked is the line of figures.
func (m *meter) textLocked(event string, rate, percent float64, left time.Duration, now time.Time) string {
	s := m.mu.state
	parts := []string{m.label + ":"}
	if event == "stopped" {
		parts = append(parts, "stopped after")
	}
	if percent >= 0 && event != "done" {
		parts = append(parts, fmt.Sprintf("%3.0f %%,", percent))
	}
	parts = append(parts, groups(s.Docs)+" documents,", size(s.Bytes)+",", groups(int64(rate))+"/s")
	if s.Failed > 0 {
		parts = append(parts, "("+groups(s.Failed)+" failed)")
	}
	switch {
	case event != "progress":
		parts = append(parts, "in "+span(now.Sub(m.mu.start)))
	case left >= 0:
		parts = append(parts, "ETA "+span(left))
	}
	return strings.Join(parts, " ")
}

// bar draws a bar of so many columns.
func bar(percent float64, columns int) string {
	full := int(percent / 100 * float64(columns))
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", columns-full) + "]"
}

// groups writes 135233 as 135,233.
func groups(n int64) string {
	s := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// size writes a number of bytes in binary units.
func size(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB"}
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// span writes a duration so that a person reads it at a glance: 0.4s, 12s, 3m05s, 2h03m.
func span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
}
