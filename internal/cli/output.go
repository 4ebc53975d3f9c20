package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
)

// format is the flag of commands that print lists or objects.
type format struct {
	Output string `short:"o" enum:"table,json,ndjson" default:"table" help:"table, json or ndjson."`
}

// table is a list to be printed in any format: rows of cells for people, objects for programs.
type table struct {
	columns []string
	rows    [][]string
	objects []any // one for each row; their JSON names are documented and stable
}

// add appends a row.
func (t *table) add(object any, cells ...string) {
	t.rows = append(t.rows, cells)
	t.objects = append(t.objects, object)
}

// print writes a table in the format asked for.
func (a *app) print(f format, t *table) error {
	switch f.Output {
	case "json":
		if t.objects == nil {
			t.objects = []any{}
		}
		return a.json(t.objects)
	case "ndjson":
		enc := newEncoder(a.Stdout)
		for _, o := range t.objects {
			if err := enc.Encode(o); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	head := make([]string, len(t.columns))
	for i, c := range t.columns {
		head[i] = strings.ToUpper(c)
	}
	fmt.Fprintln(w, strings.Join(head, "\t"))
	for _, row := range t.rows {
		for i := range row {
			row[i] = printable(row[i])
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// json writes one value, indented: programs do not mind and people can read it.
func (a *app) json(v any) error {
	enc := newEncoder(a.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func newEncoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// printable makes text harmless for a terminal: document names and the like come from others, and control characters in
// them could rewrite the screen.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}

// versionInfo is the line of `version -o json`.
type versionInfo struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func versionLine(version string) versionInfo {
	return versionInfo{version, runtime.Version(), runtime.GOOS, runtime.GOARCH}
}
