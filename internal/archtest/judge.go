package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// impure are the standard packages that a pure package must not import.
var impure = []string{"net", "os", "syscall", "math/rand", "sync"} //nolint:gochecknoglobals // a constant list

// Judge compares packages with the law and returns every breach as a sentence, sorted.
func Judge(law *Law, packages map[string]*Package) []string {
	var faults []string
	for name, p := range packages {
		line, listed := law.Lines[name]
		if !listed {
			faults = append(faults, name+" has no line in layers.txt")
			continue
		}
		faults = append(faults, imports(law, p, line)...)
		faults = append(faults, testImports(law, p, line)...)
		faults = append(faults, thirdParty(law, p)...)
		faults = append(faults, form(law, p)...)
	}
	faults = append(faults, walls(packages)...)
	slices.Sort(faults)
	return slices.Compact(faults)
}

func imports(_ *Law, p *Package, line Line) []string {
	var faults []string
	for _, imp := range own(p.Imports) {
		switch {
		case isKit(imp) && !isKit(p.Name()) && p.Name() != "charpoytest" && p.Name() != "internal/cli":
			faults = append(faults, fmt.Sprintf("%s imports %s, which is for tests only", p.Name(), imp))
		case !slices.Contains(line.Imports, imp):
			faults = append(faults, fmt.Sprintf("%s may not import %s: layers.txt gives it %v", p.Name(), imp, line.Imports))
		}
	}
	return faults
}

func testImports(law *Law, p *Package, line Line) []string {
	var faults []string
	for _, imp := range own(append(slices.Clone(p.TestImports), p.XTestImports...)) {
		if imp == p.Name() || isKit(imp) || slices.Contains(line.Imports, imp) {
			continue
		}
		if other, ok := law.Lines[imp]; !ok || other.Floor > line.Floor {
			faults = append(faults, fmt.Sprintf("%s: its tests may not import %s (a higher floor)", p.Name(), imp))
		}
	}
	return faults
}

func thirdParty(law *Law, p *Package) []string {
	if isKit(p.Name()) {
		return nil
	}
	var faults []string
	for _, imp := range foreign(p.Imports) {
		homes, ok := law.home(imp)
		switch {
		case !ok:
			faults = append(faults, fmt.Sprintf("%s imports %s, which has no home in layers.txt", p.Name(), imp))
		case !slices.Contains(homes, p.Name()):
			faults = append(faults, fmt.Sprintf("%s imports %s, which is at home in %v", p.Name(), imp, homes))
		}
	}
	return faults
}

// form checks what concerns a package alone: one package comment, purity, and that only package run starts goroutines.
func form(law *Law, p *Package) []string {
	var faults []string
	if len(p.GoFiles) == 0 {
		return nil
	}
	comments, err := packageComments(p)
	if err != nil {
		return []string{p.Name() + ": " + err.Error()}
	}
	if comments != 1 {
		faults = append(faults, fmt.Sprintf("%s has %d package comments, want exactly one", p.Name(), comments))
	}
	starts, err := goStatements(p)
	if err != nil {
		return []string{p.Name() + ": " + err.Error()}
	}
	if len(starts) > 0 && p.Name() != "internal/run" && !isKit(p.Name()) {
		faults = append(faults, fmt.Sprintf("%s has a go statement (%s): goroutines are started by package run only",
			p.Name(), strings.Join(starts, ", ")))
	}
	if !law.Pure[p.Name()] {
		return faults
	}
	for _, imp := range p.Imports {
		if slices.ContainsFunc(impure, func(i string) bool { return imp == i || strings.HasPrefix(imp, i+"/") }) {
			faults = append(faults, fmt.Sprintf("%s is pure and may not import %s", p.Name(), imp))
		}
	}
	return faults
}

func walls(packages map[string]*Package) []string {
	var faults []string
	for _, wall := range Walls() {
		for name := range packages {
			if !covers(wall.From, name) {
				continue
			}
			if path := reach(packages, name, wall.To, map[string]bool{}); path != nil {
				faults = append(faults, fmt.Sprintf("wall broken (%s): %s", wall.Why, strings.Join(path, " → ")))
			}
		}
	}
	return faults
}

// reach finds a chain of imports from a package to one that the patterns cover.
func reach(packages map[string]*Package, from string, to []string, seen map[string]bool) []string {
	p := packages[from]
	if p == nil || seen[from] {
		return nil
	}
	seen[from] = true
	for _, imp := range own(p.Imports) {
		if covers(to, imp) {
			return []string{from, imp}
		}
		if path := reach(packages, imp, to, seen); path != nil {
			return append([]string{from}, path...)
		}
	}
	return nil
}

// Drawing prints the packages that exist, floor by floor from the top, for docs/architecture.md.
func Drawing(law *Law, packages map[string]*Package) string {
	names := [...]string{"ground", "engines", "between", "planes", "faces", "the node", "outside", "doors"}
	var b strings.Builder
	for floor := len(names) - 1; floor >= 0; floor-- {
		var here []string
		for name := range packages {
			if line, ok := law.Lines[name]; ok && line.Floor == floor {
				here = append(here, strings.TrimPrefix(name, "internal/"))
			}
		}
		slices.Sort(here)
		fmt.Fprintf(&b, "%d %-9s %s\n", floor, names[floor], strings.Join(here, "  "))
	}
	return b.String()
}
