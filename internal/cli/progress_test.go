package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// clock is a time that only the test moves.
type clock struct{ at time.Time }

func newClock() *clock                   { return &clock{time.Unix(1_700_000_000, 0)} }
func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }

// drive moves a meter through a job of 10,000 documents in 20 s.
func drive(style meterStyle) string {
	var b bytes.Buffer
	c := newClock()
	m := newMeter(&b, style, "import", c.now)
	for i := int64(1); i <= 200; i++ {
		c.advance(100 * time.Millisecond)
		m.update(meterState{Docs: i * 50, Bytes: i * 50 * 100, Done: i, Total: 200})
	}
	m.end(true)
	m.end(false) // without effect
	return b.String()
}

// TestMeterLines: without a terminal there is one line each 5 s, with percent, rate and time left, and a last one.
func TestMeterLines(t *testing.T) {
	want := `import:  25 %, 2,500 documents, 244.1 KiB, 500/s ETA 15s
import:  50 %, 5,000 documents, 488.3 KiB, 500/s ETA 10s
import:  75 %, 7,500 documents, 732.4 KiB, 500/s ETA 5.0s
import: 100 %, 10,000 documents, 976.6 KiB, 500/s ETA 0.0s
import: 10,000 documents, 976.6 KiB, 500/s in 20s
`
	if got := drive(meterLines); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestMeterEvents: with -o json each line is an object with the documented names.
func TestMeterEvents(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(drive(meterEvents)), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines, want 5: %q", len(lines), lines)
	}
	for i, want := range []string{
		`{"event":"progress","label":"import","docs":2500,"bytes":250000,"percent":25,"docs_per_second":500,"eta_seconds":15,"seconds":5}`,
		`{"event":"done","label":"import","docs":10000,"bytes":1000000,"percent":100,"docs_per_second":500,"seconds":20}`,
	} {
		if got := lines[i*4]; got != want {
			t.Errorf("line %d: got %s, want %s", i*4, got, want)
		}
		var e meterEvent
		if err := json.Unmarshal([]byte(lines[i*4]), &e); err != nil {
			t.Error(err)
		}
	}
}

// TestMeterBar: on a terminal the line is drawn over and over, at most each 200 ms, and ends with a line end.
func TestMeterBar(t *testing.T) {
	got := drive(meterBar)
	draws := strings.Split(got, "\r")
	if n := len(draws); n != 102 { // one empty piece in front, 100 draws, one last
		t.Errorf("%d pieces, want 102", n)
	}
	if !strings.HasPrefix(draws[50], "[########........] import:  50 %,") {
		t.Errorf("in the middle: %q", draws[50])
	}
	if !strings.HasSuffix(got, "\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("the bar must end with one line end: %q", got[len(got)-60:])
	}
}

// TestMeterBarIsNarrow: whatever the figures are, a draw fits into a terminal of 80 columns as long as the figures alone do.
func TestMeterBarIsNarrow(t *testing.T) {
	for docs := int64(1); docs < 1e9; docs *= 7 {
		var b bytes.Buffer
		c := newClock()
		m := newMeter(&b, meterBar, "import", c.now)
		c.advance(time.Minute)
		m.update(meterState{Docs: docs, Bytes: docs * 100, Done: 1, Total: 3})
		for draw := range strings.SplitSeq(b.String(), "\r") {
			if len(draw) > 79 {
				t.Errorf("%d columns: %q", len(draw), draw)
			}
		}
	}
}

// TestMeterSilent: -q means nothing at all.
func TestMeterSilent(t *testing.T) {
	if got := drive(meterSilent); got != "" {
		t.Errorf("got %q", got)
	}
}

// TestMeterResumes: the rate after going on is that of this run, not of what an earlier one has done.
func TestMeterResumes(t *testing.T) {
	var b bytes.Buffer
	c := newClock()
	m := newMeter(&b, meterLines, "import", c.now)
	m.resume(meterState{Docs: 1_000_000, Bytes: 1 << 30, Done: 50, Total: 100})
	c.advance(10 * time.Second)
	m.update(meterState{Docs: 1_001_000, Bytes: 1<<30 + 1000, Done: 60, Total: 100})
	if got, want := b.String(), "import:  60 %, 1,001,000 documents, 1.0 GiB, 100/s ETA 40s\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestMeterFollowsRate: the rate shown is that of the last ten seconds, so that a server that slows down is seen to.
func TestMeterFollowsRate(t *testing.T) {
	var b bytes.Buffer
	c := newClock()
	m := newMeter(&b, meterLines, "x", c.now)
	docs := int64(0)
	for i := range 60 {
		c.advance(time.Second)
		if docs += 1000; i >= 40 {
			docs -= 900
		}
		m.update(meterState{Docs: docs})
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if last := lines[len(lines)-1]; !strings.HasSuffix(last, " 100/s") {
		t.Errorf("last line %q, want 100/s", last)
	}
	if strings.Contains(b.String(), "%") || strings.Contains(b.String(), "ETA") {
		t.Error("percent or time left without a total")
	}
}

func TestFigures(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 135233: "135,233", -1234567: "-1,234,567"} {
		if got := groups(n); got != want {
			t.Errorf("groups(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 29: "2.5 GiB", 1 << 50: "1.0 PiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		400 * time.Millisecond: "0.4s", 12 * time.Second: "12s", 185 * time.Second: "3m05s", 123 * time.Minute: "2h03m",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}
