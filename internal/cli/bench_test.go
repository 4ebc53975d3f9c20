package cli

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/loadgen"
)

// TestPlotLatency: the picture is well-formed whatever was measured, nothing is drawn outside of it, and a title cannot break it.
func TestPlotLatency(t *testing.T) {
	for name, r := range map[string]loadgen.Result{
		"nothing": {},
		"one":     {Curve: []loadgen.Point{{Q: 0, Latency: 5}, {Q: 1, Latency: 5}}},
		"wide": {Curve: []loadgen.Point{
			{Q: 0, Latency: 0}, {Q: 0.5, Latency: 900}, {Q: 0.999, Latency: time.Millisecond}, {Q: 1, Latency: 30 * time.Second},
		}},
	} {
		picture := string(plotLatency(`<a> & "b"`, r))
		decoder := xml.NewDecoder(strings.NewReader(picture))
		for {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v in\n%s", name, err, picture)
			}
			start, ok := token.(xml.StartElement)
			if !ok || start.Name.Local != "polyline" {
				continue
			}
			for _, attribute := range start.Attr {
				if attribute.Name.Local == "points" {
					checkPoints(t, name, attribute.Value)
				}
			}
		}
		if strings.Contains(picture, "NaN") || strings.Contains(picture, "Inf") {
			t.Errorf("%s: numbers that are none:\n%s", name, picture)
		}
	}
}

func checkPoints(t *testing.T, name, points string) {
	t.Helper()
	for point := range strings.FieldsSeq(points) {
		x, y, _ := strings.Cut(point, ",")
		if strings.HasPrefix(x, "-") || strings.HasPrefix(y, "-") || len(x) > len("760.0") || len(y) > len("420.0") {
			t.Errorf("%s: point %s lies outside", name, point)
		}
	}
}

// TestBenchFailures: the errors of the generator end in their exit codes, whatever they are wrapped in.
func TestBenchFailures(t *testing.T) {
	for err, want := range map[error]int{
		loadgen.ErrOptions: exitUsage, loadgen.ErrRefused: exitRefused, loadgen.ErrProtocol: exitFailed,
		loadgen.ErrClosed: exitUnreachable, loadgen.ErrStalled: exitUnreachable, loadgen.ErrWrong: exitFailed,
	} {
		if got := describe(t.Context(), benchFailure(errors.Join(errors.New("x"), err))); got.code != want {
			t.Errorf("%v: exit code %d, want %d", err, got.code, want)
		}
	}
}
