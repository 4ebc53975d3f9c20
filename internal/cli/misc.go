package cli

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/charpoy/charpoy/internal/client"
)

// statsCmd prints statistics.
type statsCmd struct {
	documents
	format
	Group string `arg:"" optional:"" help:"Name of a group; without one the general numbers. Arguments follow a blank: 'vbucket-details 17'."`
	Grep  string `placeholder:"TEXT" help:"Only names that contain this."`
}

// Help is the long help.
func (*statsCmd) Help() string { return "Example: charpoy stats --grep item" }

// statLine is a statistic with -o json.
type statLine struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Run prints them.
func (c *statsCmd) Run(a *app) error {
	return c.with(a, func(conn *client.Conn) error {
		list, err := conn.Stats(a.ctx, c.Group)
		if err != nil {
			return err
		}
		out := &table{columns: []string{"name", "value"}}
		for _, s := range list {
			if strings.Contains(s.Name, c.Grep) {
				out.add(statLine(s), s.Name, s.Value)
			}
		}
		return a.print(c.format, out)
	})
}

// parseMiB reads a size that is a whole number of MiB.
func parseMiB(text string) (int64, error) {
	f := fail(exitUsage, "%q is no size", text).do("Give a number with MiB, GiB or TiB, such as 256MiB.")
	number := strings.TrimRight(text, "MGTiBmgtb")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 {
		return 0, f
	}
	shift, known := map[string]int{"m": 0, "g": 10, "t": 20}[strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(text[len(number):]), "b"), "i")]
	if !known || n > math.MaxInt64>>21>>shift {
		return 0, f
	}
	return n << shift, nil
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

func validJSON(b []byte) bool { return json.Valid(b) }
