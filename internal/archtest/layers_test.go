package archtest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func loadLaw(t *testing.T) *Law {
	t.Helper()
	f, err := os.Open(root + "/layers.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	law, err := ParseLaw(f)
	if err != nil {
		t.Fatalf("layers.txt: %v", err)
	}
	return law
}

// TestLayers holds every package of the module, as built for each supported system, to layers.txt.
func TestLayers(t *testing.T) {
	law := loadLaw(t)
	for _, fault := range law.Check() {
		t.Error(fault)
	}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		packages, err := List(t.Context(), root, goos)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range Judge(law, packages) {
			t.Errorf("%s: %s", goos, fault)
		}
	}
}

// TestJudgeNoticesBreaches plants one breach of each kind into a small invented module and demands that it is named.
func TestJudgeNoticesBreaches(t *testing.T) {
	law, err := ParseLaw(strings.NewReader(`# pure: internal/spec
# home: example.com/lib* internal/storage
0 internal/spec:
1 internal/kv: internal/spec
1 internal/storage: internal/spec
3 internal/cluster: internal/spec internal/middle
3 internal/middle: internal/kv
0 internal/kv/kvtest:
`))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := write("good.go", "// Package good is described.\npackage good\n")
	bare := write("bare.go", "package bare\n")
	goes := write("goes.go", "// Package goes starts one.\npackage goes\n\nfunc f() { go f() }\n")
	for name, test := range map[string]struct {
		pkg  Package
		want string
	}{
		"unlisted":      {Package{ImportPath: Module + "/internal/new", GoFiles: []string{good}}, "has no line"},
		"import":        {Package{ImportPath: Module + "/internal/spec", GoFiles: []string{good}, Imports: []string{Module + "/internal/kv"}}, "may not import internal/kv"},
		"home":          {Package{ImportPath: Module + "/internal/kv", GoFiles: []string{good}, Imports: []string{"example.com/lib/x"}}, "is at home in"},
		"homeless":      {Package{ImportPath: Module + "/internal/kv", GoFiles: []string{good}, Imports: []string{"example.com/other"}}, "has no home"},
		"comment":       {Package{ImportPath: Module + "/internal/kv", GoFiles: []string{bare}}, "package comments"},
		"pure":          {Package{ImportPath: Module + "/internal/spec", GoFiles: []string{good}, Imports: []string{"net/http"}}, "is pure"},
		"go statement":  {Package{ImportPath: Module + "/internal/kv", GoFiles: []string{goes}}, "go statement"},
		"kit":           {Package{ImportPath: Module + "/internal/kv", GoFiles: []string{good}, Imports: []string{Module + "/internal/kv/kvtest"}}, "for tests only"},
		"test upward":   {Package{ImportPath: Module + "/internal/spec", GoFiles: []string{good}, TestImports: []string{Module + "/internal/kv"}}, "tests may not import internal/kv"},
		"wall far away": {Package{ImportPath: Module + "/internal/cluster", GoFiles: []string{good}, Imports: []string{Module + "/internal/middle"}}, "wall"},
	} {
		t.Run(name, func(t *testing.T) {
			pkg := test.pkg
			pkg.Dir = dir
			packages := map[string]*Package{
				pkg.Name():        &pkg,
				"internal/middle": {ImportPath: Module + "/internal/middle", Dir: dir, GoFiles: []string{good}, Imports: []string{Module + "/internal/kv"}},
			}
			if _, ok := packages["internal/kv"]; !ok {
				packages["internal/kv"] = &Package{ImportPath: Module + "/internal/kv", Dir: dir, GoFiles: []string{good}}
			}
			faults := Judge(law, packages)
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, test.want) }) {
				t.Errorf("got %q, want a fault with %q", faults, test.want)
			}
		})
	}
}

// TestDrawing keeps the map in docs/architecture.md equal to the law: the list of packages by floor is printed from it.
func TestDrawing(t *testing.T) {
	law := loadLaw(t)
	packages, err := List(t.Context(), root, "linux")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(root + "/docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	want := Drawing(law, packages)
	if !strings.Contains(string(text), want) {
		t.Errorf("docs/architecture.md does not hold the present map; put this between its fences:\n%s", want)
	}
}

func ExampleParseLaw() {
	law, _ := ParseLaw(strings.NewReader("1 internal/kv: internal/spec\n0 internal/spec:\n"))
	fmt.Println(law.Lines["internal/kv"].Floor, law.Lines["internal/kv"].Imports)
	// Output: 1 [internal/spec]
}
