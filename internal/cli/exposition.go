package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// scraped is one number of the Prometheus text format.
type scraped struct {
	name   string // of the sample: a histogram's has _bucket, _sum or _count behind the family's
	labels []labelPair
	value  float64
}

type labelPair struct{ name, value string }

// family is a metric with its samples.
type metricFamily struct {
	name, kind, help string
	samples          []scraped
}

// parseExposition reads the text format (version 0.0.4) as far as our own server writes it: HELP and TYPE before the samples
// of each family, no timestamps.
func parseExposition(text []byte) ([]metricFamily, error) {
	var list []metricFamily
	scan := bufio.NewScanner(bytes.NewReader(text))
	scan.Buffer(nil, 1<<20)
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimSpace(scan.Text())
		switch {
		case line == "":
		case strings.HasPrefix(line, "# HELP "):
			name, help, _ := strings.Cut(line[len("# HELP "):], " ")
			list = append(list, metricFamily{name: name, help: unescape(help)})
		case strings.HasPrefix(line, "# TYPE "):
			name, kind, _ := strings.Cut(line[len("# TYPE "):], " ")
			if len(list) == 0 || list[len(list)-1].name != name {
				list = append(list, metricFamily{name: name})
			}
			list[len(list)-1].kind = kind
		case strings.HasPrefix(line, "#"):
		default:
			s, err := parseSample(line)
			if err != nil {
				return nil, fmt.Errorf("line %d of the metrics: %w", n, err)
			}
			if len(list) == 0 || !strings.HasPrefix(s.name, list[len(list)-1].name) {
				list = append(list, metricFamily{name: s.name, kind: "untyped"})
			}
			last := &list[len(list)-1]
			last.samples = append(last.samples, s)
		}
	}
	return list, scan.Err()
}

// parseSample reads NAME[{LABELS}] VALUE.
func parseSample(line string) (scraped, error) {
	s := scraped{}
	end := strings.IndexAny(line, "{ ")
	if end <= 0 {
		return s, fmt.Errorf("%q is no number with a name", line)
	}
	s.name = line[:end]
	rest := line[end:]
	if rest[0] == '{' {
		var err error
		if s.labels, rest, err = parseLabels(rest[1:]); err != nil {
			return s, fmt.Errorf("%q: %w", line, err)
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
	if err != nil {
		return s, fmt.Errorf("%q: %w", line, err)
	}
	s.value = v
	return s, nil
}

// parseLabels reads labels up to and with the closing brace, and gives what follows it.
func parseLabels(text string) (labels []labelPair, rest string, err error) {
	for {
		text = strings.TrimLeft(text, ", ")
		if strings.HasPrefix(text, "}") {
			return labels, text[1:], nil
		}
		name, value, found := strings.Cut(text, `="`)
		if !found {
			return nil, "", fmt.Errorf("a label without a value in %q", text)
		}
		end := 0
		for end < len(value) && value[end] != '"' {
			if value[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(value) {
			return nil, "", fmt.Errorf("the value of the label %s does not end", name)
		}
		labels = append(labels, labelPair{name, unescape(value[:end])})
		text = value[end+1:]
	}
}

// unescape undoes \\, \" and \n.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n").Replace(s)
}

// unit tells the unit of a metric, which its name has.
func (f *metricFamily) unit() string {
	for part := range strings.SplitSeq(f.name, "_") {
		switch part {
		case "seconds", "bytes", "ratio":
			return part
		}
	}
	return ""
}

// reading is one series of a family: a number, or what a histogram says.
type reading struct {
	labels string
	value  string // as the server wrote it; of a histogram the number of observations
	shown  string // for people
}

// readings gives the series of a family in the order in which they were sent.
func (f *metricFamily) readings() []reading {
	if f.kind != "histogram" {
		list := make([]reading, 0, len(f.samples))
		for i := range f.samples {
			s := &f.samples[i]
			v := strconv.FormatFloat(s.value, 'g', -1, 64)
			list = append(list, reading{labelText(s.labels), v, f.readable(s.value)})
		}
		return list
	}
	var list []reading
	var h histogramReading
	for i := range f.samples {
		s := &f.samples[i]
		switch strings.TrimPrefix(s.name, f.name) {
		case "_bucket":
			h.bucket(s)
		case "_sum":
			h.sum = s.value
		case "_count":
			list = append(list, reading{labelText(s.labels), strconv.FormatFloat(s.value, 'f', -1, 64), h.text(s.value)})
			h = histogramReading{}
		}
	}
	return list
}

// readable writes a value in its unit.
func (f *metricFamily) readable(v float64) string {
	switch {
	case f.unit() == "bytes" && v >= 0 && v < 1<<62:
		return size(int64(v))
	case f.unit() == "seconds":
		return seconds(v)
	case v == float64(int64(v)):
		return groups(int64(v))
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// histogramReading collects the buckets of one series.
type histogramReading struct {
	edges  []float64 // upper bounds, rising
	counts []float64 // up to them
	sum    float64
}

func (h *histogramReading) bucket(s *scraped) {
	for _, l := range s.labels {
		if l.name == "le" {
			edge, err := strconv.ParseFloat(l.value, 64)
			if err == nil {
				h.edges, h.counts = append(h.edges, edge), append(h.counts, s.value)
			}
		}
	}
}

// text says how many observations there were, their mean, and between which bounds the median and the 99th percentile lie.
func (h *histogramReading) text(count float64) string {
	if count == 0 {
		return "0"
	}
	return fmt.Sprintf("%s, mean %s, median %s, p99 %s", groups(int64(count)), seconds(h.sum/count), h.below(count/2), h.below(count*0.99))
}

// below gives the bound below which so many observations lie.
func (h *histogramReading) below(rank float64) string {
	for i, n := range h.counts {
		if n < rank {
			continue
		}
		if h.edges[i] > 1e9 && i > 0 { // +Inf
			return "> " + seconds(h.edges[i-1])
		}
		return "≤ " + seconds(h.edges[i])
	}
	return "?"
}

// labelText writes labels for people; le is the histogram's own.
func labelText(labels []labelPair) string {
	parts := make([]string, 0, len(labels))
	for _, l := range labels {
		if l.name != "le" {
			parts = append(parts, l.name+"="+l.value)
		}
	}
	return strings.Join(parts, " ")
}

// seconds writes a number of seconds in a unit that suits it.
func seconds(v float64) string {
	switch {
	case v == 0:
		return "0 s"
	case v < 1e-3:
		return strconv.FormatFloat(v*1e6, 'f', 0, 64) + " µs"
	case v < 1:
		return strconv.FormatFloat(v*1e3, 'f', 1, 64) + " ms"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " s"
}
