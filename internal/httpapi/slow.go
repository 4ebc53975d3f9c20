package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/trace"
)

// Bounds of the list of slow operations and of their thresholds.
const (
	slowDefault  = 100
	slowMost     = 1000
	leastSlow    = 100 * time.Microsecond
	greatestSlow = time.Hour
)

// listSlow gives the slow operations that are still in memory, the oldest first. Whoever may read the node's statistics sees
// those of all buckets, others those of the buckets whose statistics they may read. Keys of documents and addresses of
// clients are shown to full administrators; others see hashes, in which equal things are equal.
func (s *Server) listSlow(c *call) error {
	filter, err := s.slowFilter(c)
	if err != nil {
		return err
	}
	node := s.Auth.Access(c.id, "")
	hide := s.redactor
	switch {
	case node.Has(auth.Administrator):
		hide = nil
	case node.Has(auth.Stats):
	case filter.Bucket != "" && !s.Auth.Access(c.id, filter.Bucket).Has(auth.SimpleStats):
		return forbidden(permission("bucket[%].stats!read", filter.Bucket))
	default:
		filter.Allowed = func(bucket string) bool {
			return bucket != "" && s.Auth.Access(c.id, bucket).Has(auth.SimpleStats)
		}
	}
	lines := s.Slow.List(filter, hide)
	if lines == nil {
		lines = []trace.SlowLine{}
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"slow": lines})
	return nil
}

// slowFilter reads the query of listSlow: op, bucket, limit, and since as a time or as how long ago.
func (s *Server) slowFilter(c *call) (trace.SlowFilter, error) {
	query := c.r.URL.Query()
	f := trace.SlowFilter{Bucket: query.Get("bucket"), Limit: slowDefault}
	if name := query.Get("op"); name != "" {
		op, ok := trace.OpNamed(name)
		if !ok {
			return f, invalid("op", "There is no operation of that name.")
		}
		f.Op = op
	}
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > slowMost {
			return f, invalid("limit", "The limit is a number from 1 to 1000.")
		}
		f.Limit = n
	}
	if text := query.Get("since"); text != "" {
		var ok bool
		if f.Since, ok = s.moment(text); !ok {
			return f, invalid("since", "Give a time such as 2026-01-02T15:04:05Z, or how long ago, such as 5m.")
		}
	}
	return f, nil
}

// moment reads a time, or how long ago one was.
func (s *Server) moment(text string) (time.Time, bool) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return s.Now().Add(-ago), true
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	return at, err == nil
}

// defaultThreshold names the threshold of all operations that have none of their own.
const defaultThreshold = "default"

// slowThresholds tells from when on operations are slow.
func (s *Server) slowThresholds(c *call) error {
	out := map[string]string{}
	if s.Slow != nil {
		def, by := s.Slow.Thresholds()
		out[defaultThreshold] = def.String()
		for op, d := range by {
			out[op.String()] = d.String()
		}
	}
	writeJSON(c.w, http.StatusOK, out)
	return nil
}

// setSlowThresholds changes the thresholds that the body names, on this node and until it ends.
func (s *Server) setSlowThresholds(c *call) error {
	form, err := readForm(c.r)
	if err != nil {
		return err
	}
	def, by := time.Duration(0), map[trace.Op]time.Duration{}
	names := make([]string, 0, len(form.values))
	for name := range form.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text, _ := form.text(name)
		d, err := time.ParseDuration(text)
		if err != nil || d < leastSlow || d > greatestSlow {
			form.fail(name, "Give a duration from 100us to 1h, such as 250ms.")
			continue
		}
		op, known := trace.OpNamed(name)
		switch {
		case name == defaultThreshold:
			def = d
		case known:
			by[op] = d
		default:
			form.fail(name, "There is no operation of that name.")
		}
	}
	if err := form.err(); err != nil {
		return err
	}
	if s.Slow == nil {
		return notFound()
	}
	s.Slow.SetThresholds(def, by)
	s.Logger.Info("thresholds of slow operations changed", "user", c.id.String(), "names", names)
	return s.slowThresholds(c)
}
