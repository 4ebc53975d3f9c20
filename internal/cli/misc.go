package cli

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

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
