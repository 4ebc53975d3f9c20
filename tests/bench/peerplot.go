package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Measures of the plot, in pixels.
const (
	plotLabels = 520
	plotScale  = 420
	plotLine   = 24
	plotTop    = 46
)

// What the axis shows at most; ranges that leave it end at its edge.
const (
	plotLeast = 1.0 / 8
	plotMost  = 16.0
)

// plotRatios draws one line a row: the spread of its rounds, their median, and what must be reached. The axis is
// logarithmic, so that twice as good and half as good are equally far from 1.
func plotRatios(rows []*rowResult) []byte {
	lowest, highest := 0.5, 2.0
	for _, x := range rows {
		v := x.decisive()
		lowest, highest = min(lowest, slices.Min(v)), max(highest, slices.Max(v), x.Must)
	}
	lowest, highest = max(lowest, plotLeast), min(highest, plotMost)
	from, to := math.Log2(lowest)-0.1, math.Log2(highest)+0.1
	at := func(ratio float64) float64 {
		return plotLabels + (math.Log2(min(max(ratio, lowest), highest))-from)/(to-from)*plotScale
	}
	height := plotTop + plotLine*len(rows) + 20
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		plotLabels+plotScale+30, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	fmt.Fprintf(&b, `<text x="%d" y="16" fill="#333333">Charpoy against its peers: median and range of the rounds; to the right of 1 Charpoy is better; | is the bound</text>`+"\n", 8)
	for e := math.Ceil(from); e <= to; e++ {
		x := at(math.Exp2(e))
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/><text x="%.1f" y="%d" text-anchor="middle" fill="#555555">%g×</text>`+"\n",
			x, plotTop-8, x, height-10, map[bool]string{true: "#333333", false: "#dddddd"}[e == 0], x, plotTop-12, math.Exp2(e))
	}
	for i, x := range rows {
		v := x.decisive()
		y := float64(plotTop + plotLine*i + plotLine/2)
		colour := "#4477aa"
		if x.Met != nil && !*x.Met {
			colour = "#bb4433"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end" fill="#222222">%s</text>`, plotLabels-10, y+4, html.EscapeString(x.Title))
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="3" opacity="0.5"/>`,
			at(slices.Min(v)), y, at(slices.Max(v)), y, colour)
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="5" fill="%s"/>`, at(x.Median), y, colour)
		if x.Must > 0 {
			fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#222222" stroke-width="2"/>`, at(x.Must), y-8, at(x.Must), y+8)
		}
		b.WriteString("\n")
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// decisive are the ratios that the verdict is about.
func (x *rowResult) decisive() []float64 {
	if x.row.throughput {
		return x.Throughput
	}
	return x.CPU
}
