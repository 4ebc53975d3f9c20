package archtest

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Line is what the law says of one package: its floor and the packages of the module that it may import.
type Line struct {
	Floor   int
	Imports []string
}

// Home says where a third-party package may be imported by product code.
type Home struct {
	Pattern string // import path; a trailing * also covers what follows
	Homes   []string
}

// Law is a parsed layers.txt. Package paths are relative to the module.
type Law struct {
	Lines map[string]Line
	Pure  map[string]bool
	Homes []Home
}

// ParseLaw reads layers.txt. An error names the line.
func ParseLaw(r io.Reader) (*Law, error) {
	law := &Law{Lines: map[string]Line{}, Pure: map[string]bool{}}
	scan := bufio.NewScanner(r)
	for n := 1; scan.Scan(); n++ {
		text := strings.TrimSpace(scan.Text())
		if err := law.parseLine(text); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return law, scan.Err()
}

func (l *Law) parseLine(text string) error {
	switch {
	case strings.HasPrefix(text, "# pure:"):
		for p := range strings.FieldsSeq(strings.TrimPrefix(text, "# pure:")) {
			l.Pure[p] = true
		}
		return nil
	case strings.HasPrefix(text, "# home"):
		_, rest, _ := strings.Cut(text, ": ")
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			return fmt.Errorf("a home line names a package and its homes: %q", text)
		}
		l.Homes = append(l.Homes, Home{fields[0], fields[1:]})
		return nil
	case text == "" || strings.HasPrefix(text, "#"):
		return nil
	}
	head, imports, ok := strings.Cut(text, ":")
	fields := strings.Fields(head)
	if !ok || len(fields) != 2 {
		return fmt.Errorf("want `FLOOR PACKAGE: IMPORT …`, got %q", text)
	}
	floor, err := strconv.Atoi(fields[0])
	if err != nil || floor < 0 || floor > 7 {
		return fmt.Errorf("%q is no floor from 0 to 7", fields[0])
	}
	if _, twice := l.Lines[fields[1]]; twice {
		return fmt.Errorf("%s has two lines", fields[1])
	}
	l.Lines[fields[1]] = Line{floor, strings.Fields(imports)}
	return nil
}

// Check finds faults in the law itself: imports without a line, of a higher floor, or of the package itself.
func (l *Law) Check() []string {
	var faults []string
	for name, line := range l.Lines {
		for _, imp := range line.Imports {
			other, ok := l.Lines[imp]
			switch {
			case !ok:
				faults = append(faults, fmt.Sprintf("layers.txt: %s may import %s, which has no line", name, imp))
			case imp == name:
				faults = append(faults, fmt.Sprintf("layers.txt: %s names itself", name))
			case other.Floor > line.Floor:
				faults = append(faults, fmt.Sprintf("layers.txt: %s (floor %d) may import %s (floor %d): imports go down",
					name, line.Floor, imp, other.Floor))
			}
		}
	}
	for name := range l.Pure {
		if _, ok := l.Lines[name]; !ok {
			faults = append(faults, "layers.txt: pure package "+name+" has no line")
		}
	}
	slices.Sort(faults)
	return faults
}

// home finds the packages that may import a third-party path: the longest pattern that matches counts. ok is false when
// no pattern does.
func (l *Law) home(path string) (homes []string, ok bool) {
	best := -1
	for _, h := range l.Homes {
		prefix, open := strings.CutSuffix(h.Pattern, "*")
		matches := path == strings.TrimSuffix(prefix, "/") || open && strings.HasPrefix(path, prefix)
		if matches && len(h.Pattern) > best {
			best, homes, ok = len(h.Pattern), h.Homes, true
		}
	}
	return homes, ok
}

// isKit reports whether a package exists for tests only.
func isKit(pkg string) bool {
	last := pkg[strings.LastIndexByte(pkg, '/')+1:]
	return pkg == "internal/testcluster" || strings.HasPrefix(pkg, "internal/") && strings.HasSuffix(last, "test") &&
		last != "archtest" || strings.HasSuffix(pkg, "/model")
}
