package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/trace"
)

// slowLine is a slow operation with every field set.
func slowLine() trace.SlowLine {
	op := trace.SlowOp{
		Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Op: trace.OpSet, Status: "ok", Bucket: "shop", VB: 417,
		Key: trace.KeyOf([]byte("k\x1b[2J")), Send: time.Millisecond, Level: "majority", BytesIn: 1, BytesOut: 2, Batch: 3, Conn: 4,
		Client: "10.0.0.7", LocalID: "a/b", Opaque: 5, During: []string{"gc"}, Victims: 6,
	}
	op.Clock.Start(0)
	op.Clock.Mark(trace.StageExec, 1_000_000)
	op.Clock.Mark(trace.StageLock, 81_234_000)
	line := op.Line("n2", nil, nil)
	line.Suppressed = 7
	return line
}

// What the server tells of an operation is passed on without a loss, and is readable and harmless as a table.
func TestSlow(t *testing.T) {
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		_ = json.NewEncoder(w).Encode(map[string]any{"slow": []trace.SlowLine{slowLine()}})
	}))
	defer server.Close()
	env := map[string]string{"CHARPOY_SERVER": strings.TrimPrefix(server.URL, "http://"), "CHARPOY_PASSWORD": "x", "TZ": "UTC"}
	code, out, stderr := outcome(t, env, "slow", "--since", "5m", "--op", "set", "-b", "shop", "--limit", "7", "-o", "ndjson")
	want, err := json.Marshal(slowLine())
	if err != nil {
		t.Fatal(err)
	}
	if code != exitDone || strings.TrimSpace(out) != string(want) {
		t.Errorf("code %d, %s\n%s\nwant\n%s", code, stderr, out, want)
	}
	if asked != "/api/v1/slow?bucket=shop&limit=7&op=set&since=5m" {
		t.Errorf("asked for %s", asked)
	}
	_, out, _ = outcome(t, env, "slow")
	if !regexp.MustCompile(`set +shop +k\x{FFFD}\[2J +81.2 ms +lock 80.2 ms +10.0.0.7 +6 +gc`).MatchString(out) {
		t.Errorf("table:\n%s", out)
	}
}
