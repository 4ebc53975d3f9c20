package archtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Module is the module path; package names in this package are relative to it.
const Module = "github.com/charpoy/charpoy"

// Package is what `go list` says of one package.
type Package struct {
	ImportPath   string
	Dir          string
	GoFiles      []string
	IgnoredFiles []string `json:"IgnoredGoFiles"`
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// Name is the package path relative to the module.
func (p *Package) Name() string { return strings.TrimPrefix(p.ImportPath, Module+"/") }

// own keeps those imports that belong to the module, relative to it.
func own(imports []string) []string {
	var list []string
	for _, i := range imports {
		if rest, ok := strings.CutPrefix(i, Module+"/"); ok {
			list = append(list, rest)
		}
	}
	return list
}

// foreign keeps those imports that belong neither to the module nor to the standard library.
func foreign(imports []string) []string {
	var list []string
	for _, i := range imports {
		first, _, _ := strings.Cut(i, "/")
		if strings.Contains(first, ".") && !strings.HasPrefix(i, Module) {
			list = append(list, i)
		}
	}
	return list
}

// List reads all packages of the module rooted at root for one target system.
func List(ctx context.Context, root, goos string) (map[string]*Package, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-json=ImportPath,Dir,GoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles,Imports,"+
		"TestImports,XTestImports", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	packages := map[string]*Package{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &Package{}
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		packages[p.Name()] = p
	}
}

// goStatements finds the positions of `go` statements in the product files of p.
func goStatements(p *Package) ([]string, error) {
	var found []string
	fset := token.NewFileSet()
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				found = append(found, fmt.Sprintf("%s:%d", name, fset.Position(g.Pos()).Line))
			}
			return true
		})
	}
	return found, nil
}

// packageComments counts the files of p that carry a package comment.
func packageComments(p *Package) (int, error) {
	count := 0
	fset := token.NewFileSet()
	for _, name := range append(append([]string{}, p.GoFiles...), p.IgnoredFiles...) {
		file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			return 0, err
		}
		if file.Doc != nil && strings.HasPrefix(file.Doc.Text(), "Package ") ||
			file.Doc != nil && strings.HasPrefix(file.Doc.Text(), "Command ") {
			count++
		}
	}
	return count, nil
}
