package cli

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/loadgen"
)

// Measures of the plot, in pixels.
const (
	plotWidth, plotHeight = 760, 420
	plotLeft, plotRight   = 70, 20
	plotTop, plotBottom   = 60, 50
	plotNines             = 6 // decades of the axis: up to 99.9999 %
)

// plotLatency draws latency over percentile as an SVG picture. Both axes are logarithmic, that of the percentiles in the
// share that is slower: each nine of 99.99 % gets as much room as the one before, because the rare slow operations are what
// one looks for.
func plotLatency(title string, r loadgen.Result) []byte {
	low, high := math.Inf(1), 0.0
	for _, p := range r.Curve {
		if p.Latency > 0 {
			low, high = min(low, float64(p.Latency)), max(high, float64(p.Latency))
		}
	}
	if high == 0 {
		low, high = 1, 10
	}
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high)+1e-9)
	x := func(q float64) float64 {
		nines := min(plotNines, -math.Log10(max(1-q, 1e-12)))
		return plotLeft + nines/plotNines*(plotWidth-plotLeft-plotRight)
	}
	y := func(ns float64) float64 {
		return plotHeight - plotBottom - max(0, math.Log10(max(ns, 1e-9))-from)/(to-from)*(plotHeight-plotTop-plotBottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		plotWidth, plotHeight)
	b.WriteString(`<rect width="100%" height="100%" fill="#ffffff"/>` + "\n")
	fmt.Fprintf(&b, `<text x="%d" y="20" fill="#222222" font-size="14">%s</text>`+"\n", plotLeft, html.EscapeString(title))
	fmt.Fprintf(&b, `<text x="%d" y="40" fill="#555555">%s operations a second; p50 %s, p99 %s, p99.9 %s, max %s</text>`+"\n", plotLeft,
		groups(int64(r.OpsPerSec)), brief(r.P50), brief(r.P99), brief(r.P999), brief(r.Max))
	for decade := range plotNines + 1 {
		at := x(1 - math.Pow(10, -float64(decade)))
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#dddddd"/>`, at, plotTop, at, plotHeight-plotBottom)
		anchor := "middle"
		if decade == plotNines {
			anchor = "end" // there is no room to the right
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="%s" fill="#555555">%s</text>`+"\n", at, plotHeight-plotBottom+18, anchor, nines(decade))
	}
	for decade := from; decade <= to; decade++ {
		at := y(math.Pow(10, decade))
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#dddddd"/>`, plotLeft, at, plotWidth-plotRight, at)
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end" fill="#555555">%s</text>`+"\n", plotLeft-8, at+4,
			time.Duration(math.Pow(10, decade)))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#555555">percentile</text>`+"\n",
		(plotLeft+plotWidth-plotRight)/2, plotHeight-10)
	var line []string
	for _, p := range r.Curve {
		line = append(line, fmt.Sprintf("%.1f,%.1f", x(p.Q), y(float64(p.Latency))))
	}
	fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="#4477aa" stroke-width="2"/>`+"\n</svg>\n", strings.Join(line, " "))
	return []byte(b.String())
}

// nines names the percentile of a decade: 0 %, 90 %, 99 %, 99.9 %.
func nines(decade int) string {
	switch decade {
	case 0:
		return "0 %"
	case 1:
		return "90 %"
	case 2:
		return "99 %"
	}
	return "99." + strings.Repeat("9", decade-2) + " %"
}
