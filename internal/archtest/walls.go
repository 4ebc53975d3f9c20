package archtest

import (
	"slices"
	"strings"
)

// Wall forbids that a package reaches another one, however many packages lie between.
type Wall struct {
	From, To []string // a trailing /... covers what lies below
	Why      string
}

// Walls are the borders of docs/architecture.md.
func Walls() []Wall {
	return []Wall{
		{
			[]string{"internal/cluster"},
			[]string{"internal/change", "internal/kv", "internal/data", "internal/work"},
			"the cluster plane never sees a document",
		},
		{
			[]string{"internal/data"},
			[]string{"internal/cluster", "internal/cluster/store", "internal/work", "internal/fleet/..."},
			"the data plane never sees the cluster store",
		},
		{
			[]string{"internal/httpapi"},
			[]string{"internal/data", "internal/kv"},
			"management HTTP lives in the manager and asks through the door",
		},
		{
			[]string{"internal/mcserver", "internal/viewapi"},
			[]string{"internal/cluster", "internal/fleet/..."},
			"faces of the data process know no cluster plane",
		},
		{
			[]string{"internal/work", "internal/host", "internal/fleet/..."},
			[]string{"internal/data", "internal/kv"},
			"the operations plane talks to document nodes as an outsider",
		},
		{[]string{"internal/view"}, []string{"internal/kv", "internal/storage"}, "an index knows the feed only"},
		{[]string{"internal/dcp"}, []string{"internal/kv"}, "streams know the feed only"},
		{[]string{"internal/drill"}, []string{"internal/node", "internal/data"}, "a drill sees what a customer sees"},
	}
}

func covers(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		prefix, open := strings.CutSuffix(p, "/...")
		return pkg == prefix || open && strings.HasPrefix(pkg, prefix+"/")
	})
}
