package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/testcluster"
)

// The commands of the best-known existing mock of a Couchbase server, as far as they make sense on a real one: projects that
// drive that mock need another command line and nothing else. They come as lines of JSON over the connection of
// --harakiri-monitor, or as GET /mock/COMMAND?… (github.com/couchbase/CouchbaseMock, README.md).

// mockCommand is one of them. Its error becomes the text of a failure.
type mockCommand func(*control, context.Context, *mockPayload) (any, error)

// mockCommands is the table of those that are carried out.
func mockCommands() map[string]mockCommand {
	return map[string]mockCommand{
		"mockinfo": (*control).mockInfo, "help": (*control).mockInfo, "get_mcports": (*control).mockPorts,
		"time_travel": (*control).mockTime, "opfail": (*control).mockOpFail, "hiccup": (*control).mockHiccup,
		"keyinfo": (*control).mockKeyInfo, "cache": (*control).mockStore, "endure": (*control).mockStore,
		"uncache": (*control).mockRemove, "purge": (*control).mockRemove, "respawn": (*control).mockRespawn,
		"set_cccp": (*control).mockCCCP,
	}
}

// otherMockCommands are those that are known and not carried out, with the reason.
func otherMockCommands() map[string]string {
	const (
		oneNode = "this version has one node"
		real    = "documents are where the server puts them"
		none    = "the server has no such switch"
	)
	return map[string]string{
		"failover": oneNode, "persist": real, "unpersist": real, "truncate": "use a rule with close",
		"regen_vbcoords": none, "reset_querystate": none, "set_query_error_state": none,
		"start_cmdlog": "use GET /ops", "stop_cmdlog": "use GET /ops", "get_cmdlog": "use GET /ops",
		"start_retry_verify": "use GET /ops", "check_retry_verify": "use GET /ops",
		"set_enhanced_errors": none, "set_compression": none, "set_sasl_mechanisms": none,
	}
}

// mockPayload are the parameters of a command. Names come in both spellings.
type mockPayload struct {
	Key, Value, Bucket   string
	CAS                  *json.Number
	Offset, Msecs        float64
	Code, Count, Idx     int
	Enabled              *bool
	OnMaster             *bool
	OnReplicas, Servers  json.RawMessage
	hasOffset, hasValues bool
}

// mockAnswer is what every command is answered with.
type mockAnswer struct {
	Status  string `json:"status"`
	Payload any    `json:"payload,omitempty"`
	Error   string `json:"error,omitempty"`
}

// injected is the rule that a command of the mock has made; the next such command replaces it.
type injected struct {
	sync.Mutex
	id int // 0: there is none
}

// replace takes the old rule away and adds another one, if there is one.
func (i *injected) replace(c *testcluster.Cluster, r *testcluster.Rule) error {
	i.Lock()
	defer i.Unlock()
	if i.id != 0 {
		c.Remove(i.id) // somebody may have cleared it
		i.id = 0
	}
	if r == nil {
		return nil
	}
	id, err := c.Inject(*r)
	if err == nil {
		i.id = id
	}
	return err
}

// maxMockLine bounds a command, in bytes.
const maxMockLine = 32 << 20

// obey carries out the commands that come over a connection, until it is closed or ctx ends.
func (c *control) obey(ctx context.Context, socket net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
	defer stop()
	defer socket.Close()
	lines := bufio.NewScanner(socket)
	lines.Buffer(nil, maxMockLine)
	answers := newEncoder(socket)
	for lines.Scan() {
		if len(strings.TrimSpace(lines.Text())) == 0 {
			continue
		}
		if answers.Encode(c.mockLine(ctx, lines.Bytes())) != nil {
			return
		}
	}
}

// mockLine carries out one line.
func (c *control) mockLine(ctx context.Context, line []byte) mockAnswer {
	var request struct {
		Command string          `json:"command"`
		Payload json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(line, &request); err != nil {
		return mockAnswer{Status: "fail", Error: "a command is a line {\"command\":…,\"payload\":{…}}: " + err.Error()}
	}
	p, err := readMockPayload(request.Payload)
	if err != nil {
		return mockAnswer{Status: "fail", Error: "payload: " + err.Error()}
	}
	return c.mockDo(ctx, request.Command, p)
}

// readMockPayload reads the parameters of a command.
func readMockPayload(raw json.RawMessage) (*mockPayload, error) {
	p := &mockPayload{}
	if len(raw) == 0 || string(raw) == "null" {
		return p, nil
	}
	if err := json.Unmarshal(raw, p); err != nil { // names are matched without regard to case
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, err
	}
	for name := range members {
		p.hasOffset = p.hasOffset || strings.EqualFold(name, "offset")
		p.hasValues = p.hasValues || strings.EqualFold(name, "msecs") || strings.EqualFold(name, "code")
	}
	return p, nil
}

// mockDo carries out one command.
func (c *control) mockDo(ctx context.Context, name string, p *mockPayload) mockAnswer {
	name = strings.ToLower(name)
	do, ok := mockCommands()[name]
	if !ok {
		why := "there is no such command"
		if known, ok := otherMockCommands()[name]; ok {
			why = known
		}
		return mockAnswer{Status: "fail", Error: fmt.Sprintf("not supported: %s (%s)", name, why)}
	}
	if p.Bucket == "" {
		p.Bucket = "default"
	}
	payload, err := do(c, ctx, p)
	if err != nil {
		return mockAnswer{Status: "fail", Error: err.Error()}
	}
	if payload == nil {
		payload = map[string]any{}
	}
	return mockAnswer{Status: "ok", Payload: payload}
}

// mock is the HTTP form: the payload's members are the query's parameters.
func (c *control) mock(r *http.Request) (any, error) {
	members := map[string]json.RawMessage{}
	for name, values := range r.URL.Query() {
		text := []byte(values[0])
		if _, isText := map[string]bool{"key": true, "value": true, "bucket": true}[strings.ToLower(name)]; isText || !json.Valid(text) {
			text, _ = json.Marshal(values[0]) //nolint:errchkjson // text always works
		}
		members[name] = text
	}
	raw, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	p, err := readMockPayload(raw)
	if err != nil {
		return mockAnswer{Status: "fail", Error: "payload: " + err.Error()}, nil
	}
	return c.mockDo(r.Context(), r.PathValue("command"), p), nil
}

func (c *control) mockInfo(context.Context, *mockPayload) (any, error) {
	var commands []string
	for _, name := range slices.Sorted(maps.Keys(mockCommands())) {
		commands = append(commands, strings.ToUpper(name))
	}
	return map[string]any{"MOCK": commands, "MEMCACHED": testcluster.Operations()}, nil
}

func (c *control) mockPorts(_ context.Context, p *mockPayload) (any, error) {
	buckets, err := c.cluster.Buckets()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(buckets, p.Bucket) {
		return nil, fmt.Errorf("no such bucket: %s", p.Bucket)
	}
	ports := []int{}
	for _, n := range c.cluster.Nodes() {
		ports = append(ports, n.Ports().KV)
	}
	return ports, nil
}

func (c *control) mockTime(ctx context.Context, p *mockPayload) (any, error) {
	if !p.hasOffset {
		return nil, errors.New("missing required field: Offset")
	}
	if p.Offset > maxAdvance.Seconds() {
		return nil, fmt.Errorf("offset is more than %.0f seconds", maxAdvance.Seconds())
	}
	_, err := c.cluster.Advance(ctx, time.Duration(p.Offset*float64(time.Second)))
	return nil, err
}

// mockOpFail has operations on documents fail: count of them, all if it is negative, none any more if it is 0.
func (c *control) mockOpFail(_ context.Context, p *mockPayload) (any, error) {
	switch {
	case !p.hasValues:
		return nil, errors.New("missing required field: code")
	case p.Count == 0:
		return nil, c.opFail.replace(c.cluster, nil)
	case p.Code < 1 || p.Code > 0xffff:
		return nil, fmt.Errorf("code is a status from 1 to 65535, not %d", p.Code)
	}
	return nil, c.opFail.replace(c.cluster, &testcluster.Rule{Status: uint16(p.Code), Times: max(p.Count, 0)})
}

// mockHiccup delays every reply. Where in the stream of bytes it happens cannot be chosen: it is before a reply.
func (c *control) mockHiccup(_ context.Context, p *mockPayload) (any, error) {
	switch {
	case !p.hasValues:
		return nil, errors.New("missing required field: msecs")
	case p.Msecs <= 0:
		return nil, c.hiccup.replace(c.cluster, nil)
	}
	return nil, c.hiccup.replace(c.cluster, &testcluster.Rule{Op: "*", Delay: time.Duration(p.Msecs * float64(time.Millisecond))})
}

func (p *mockPayload) key() error {
	if p.Key == "" {
		return errors.New("missing required field: Key")
	}
	return nil
}

// mockKeyInfo tells what a node has of a document, in memory and on disk.
func (c *control) mockKeyInfo(ctx context.Context, p *mockPayload) (any, error) {
	if err := p.key(); err != nil {
		return nil, err
	}
	d, found, err := c.cluster.Doc(ctx, p.Bucket, "", p.Key)
	if err != nil {
		return nil, err
	}
	item := map[string]any{}
	if found {
		item["Value"], item["CAS"], item["Snappy"] = string(d.Value), json.Number(strconv.FormatUint(d.CAS, 10)), false
	}
	onDisk := map[string]any{}
	if c.cluster.Persistent() {
		onDisk = item
	}
	return []any{map[string]any{
		"Conf": map[string]any{"Index": 0, "Type": "master"}, "Cache": item, "Disk": onDisk,
	}}, nil
}

// mockStore writes a document as if a client had done so.
func (c *control) mockStore(ctx context.Context, p *mockPayload) (any, error) {
	if err := p.key(); err != nil {
		return nil, err
	}
	if p.CAS != nil {
		return nil, errors.New("not supported: a CAS cannot be chosen, the server gives them")
	}
	return nil, c.cluster.Put(ctx, p.Bucket, "", p.Key, testcluster.Document{Value: []byte(p.Value)})
}

// mockRemove deletes a document as if a client had done so.
func (c *control) mockRemove(ctx context.Context, p *mockPayload) (any, error) {
	if err := p.key(); err != nil {
		return nil, err
	}
	_, err := c.cluster.Delete(ctx, p.Bucket, "", p.Key)
	return nil, err
}

// mockRespawn starts a node that is down.
func (c *control) mockRespawn(ctx context.Context, p *mockPayload) (any, error) {
	n := c.cluster.Node(p.Idx + 1)
	if n == nil {
		return nil, fmt.Errorf("there is no server %d", p.Idx)
	}
	if n.State() == testcluster.Running {
		return nil, nil
	}
	return nil, n.Restart(ctx)
}

func (c *control) mockCCCP(_ context.Context, p *mockPayload) (any, error) {
	if p.Enabled == nil || !*p.Enabled {
		return nil, errors.New("not supported: the key-value port always gives the cluster's configuration")
	}
	return nil, nil
}
