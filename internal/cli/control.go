package cli

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/testcluster"
)

// Bounds of the control channel.
const (
	maxControlBody  = 1 << 20
	maxSeedBody     = 256 << 20
	maxSnapshots    = 100
	controlShutdown = 2 * time.Second
	controlHeaders  = 10 * time.Second
)

// control is the control channel of a test server: HTTP with JSON on loopback. Its URL holds a random word, so that other
// programs of the machine, and pages in a browser, cannot drive it.
type control struct {
	cluster  *testcluster.Cluster
	token    string
	url      string
	listener net.Listener
	server   *http.Server
	opFail   injected
	hiccup   injected
	mu       struct {
		sync.Mutex
		snapshots map[string]*testcluster.Snapshot
		next      int
	}
}

// verb is one thing that the control channel does.
type verb struct {
	pattern string // of http.ServeMux
	help    string
	body    int64 // bytes at most
	do      func(*control, *http.Request) (any, error)
}

// verbs lists all of them in the order of the help.
func verbs() []verb {
	return []verb{
		{"GET /", "what the control channel can do", 0, (*control).describe},
		{"POST /rules", `add a fault rule, or a list of them: {"op":"get","key":"k*","status":"ETMPFAIL","times":2}; also bucket, collection, agent, skip, probability, seed, delay_ms, drop, close`, maxControlBody, (*control).addRules},
		{"GET /rules", "the rules and how often they have acted", 0, (*control).listRules},
		{"DELETE /rules", "take all rules away", 0, (*control).clearRules},
		{"DELETE /rules/{id}", "take one rule away", 0, (*control).removeRule},
		{"POST /advance", `let time pass: {"seconds":86400}`, maxControlBody, (*control).advance},
		{"GET /clock", "what the server's clock shows", 0, (*control).clock},
		{"POST /snapshot", "keep all documents as they are; gives an id", 0, (*control).snapshot},
		{"POST /restore", `go back to a snapshot: {"id":"1"}`, maxControlBody, (*control).restore},
		{"DELETE /snapshot/{id}", "forget a snapshot", 0, (*control).dropSnapshot},
		{"GET /ops", "what clients have sent; ?last=N gives the newest", 0, (*control).ops},
		{"DELETE /ops", "forget what clients have sent", 0, (*control).clearOps},
		{"GET /doc", "a document past the ports: ?bucket=B&key=K, &collection=SCOPE.NAME", 0, (*control).doc},
		{"POST /seed", "load lines as charpoy export writes them: ?bucket=B", maxSeedBody, (*control).seed},
		{"GET /nodes", "the nodes, their states and ports", 0, (*control).nodes},
		{"POST /node/{number}/{action}", "kill, pause, resume or restart a node", 0, (*control).node},
		{"GET /mock/{command}", "a command of the mock that others have, with its payload as the query", 0, (*control).mock},
	}
}

// newControl opens the listener. Nothing is served before run.
func newControl(ctx context.Context, cluster *testcluster.Cluster) (*control, error) {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // never fails: the runtime ends the process first
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the control channel: %w", err)
	}
	c := &control{cluster: cluster, token: hex.EncodeToString(random), listener: l}
	c.url = "http://" + l.Addr().String() + "/" + c.token
	c.mu.snapshots = map[string]*testcluster.Snapshot{}
	mux := http.NewServeMux()
	for _, v := range verbs() {
		pattern := v.pattern
		if pattern == "GET /" {
			pattern = "GET /{$}"
		}
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, v.body)
			answer, err := v.do(c, r)
			reply(w, answer, err)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply(w, nil, &controlError{http.StatusNotFound, fmt.Sprintf("there is no %s %s; GET the control URL to see what there is", r.Method, r.URL.Path)})
	})
	c.server = &http.Server{Handler: c.guard(mux), ReadHeaderTimeout: controlHeaders}
	return c, nil
}

// close gives up the listener of a channel that does not run.
func (c *control) close() { _ = c.listener.Close() }

// run serves until ctx ends.
func (c *control) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlShutdown)
		defer cancel()
		if c.server.Shutdown(ending) != nil {
			_ = c.server.Close()
		}
	})
	defer stop()
	_ = c.server.Serve(c.listener) // it ends with the listener
}

// guard lets nobody in who does not know the word, and takes it out of the path.
func (c *control) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		word, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if subtle.ConstantTimeCompare([]byte(word), []byte(c.token)) != 1 {
			reply(w, nil, &controlError{http.StatusForbidden, "this is not the control URL that the server has printed"})
			return
		}
		inner := r.Clone(r.Context())
		inner.URL.Path, inner.URL.RawPath = "/"+rest, ""
		next.ServeHTTP(w, inner)
	})
}

// controlError is an error with its HTTP status.
type controlError struct {
	status int
	text   string
}

// Error gives the text.
func (e *controlError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &controlError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// reply answers with JSON: what was asked for, or what went wrong.
func reply(w http.ResponseWriter, answer any, err error) {
	status := http.StatusOK
	if err != nil {
		answer = map[string]string{"error": err.Error()}
		status = controlStatus(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = newEncoder(w).Encode(answer) // a client that has gone hears nothing
}

// controlStatus is the table from errors to HTTP statuses.
func controlStatus(err error) int {
	if known, ok := errors.AsType[*controlError](err); ok {
		return known.status
	}
	for _, line := range []struct {
		err    error
		status int
	}{
		{testcluster.ErrRule, http.StatusBadRequest},
		{testcluster.ErrBackwards, http.StatusBadRequest},
		{testcluster.ErrSeed, http.StatusBadRequest},
		{testcluster.ErrDown, http.StatusConflict},
	} {
		if errors.Is(err, line.err) {
			return line.status
		}
	}
	return http.StatusInternalServerError
}

// done is the answer where there is nothing to say.
type done struct {
	OK bool `json:"ok"`
}

// read reads a JSON body. Members that are not known are errors: a rule with a misspelt condition would do too much.
func read(r *http.Request, into any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return badRequest("read the body: %v", err)
	}
	return decode(body, into)
}

func decode(body []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badRequest("the body is not what is expected here: %v", err)
	}
	if d.More() {
		return badRequest("there is something behind the JSON value")
	}
	return nil
}

func (c *control) describe(*http.Request) (any, error) {
	type line struct {
		Verb string `json:"verb"`
		Does string `json:"does"`
	}
	var list []line
	for _, v := range verbs() {
		list = append(list, line{v.pattern, v.help})
	}
	return map[string]any{"verbs": list}, nil
}

// controlRule is a rule as JSON has it: with a delay in milliseconds, and a status by number or name.
type controlRule struct {
	testcluster.Rule

	DelayMS float64         `json:"delay_ms,omitempty"`
	Status  json.RawMessage `json:"status,omitempty"`
}

// rule gives the rule itself.
func (r *controlRule) rule() (testcluster.Rule, error) {
	out := r.Rule
	out.Delay = time.Duration(r.DelayMS * float64(time.Millisecond))
	if len(r.Status) == 0 {
		return out, nil
	}
	var name string
	if json.Unmarshal(r.Status, &name) != nil {
		if err := json.Unmarshal(r.Status, &out.Status); err != nil {
			return out, badRequest("a status is a number from 1 to 65535 or a name such as ETMPFAIL, not %s", r.Status)
		}
		return out, nil
	}
	number, ok := testcluster.ParseStatus(name)
	if !ok {
		return out, badRequest("there is no status %q; names are those of the protocol, such as ETMPFAIL, EBUSY, LOCKED", name)
	}
	out.Status = number
	return out, nil
}

func (c *control) addRules(r *http.Request) (any, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, badRequest("read the body: %v", err)
	}
	var list []controlRule
	many := strings.HasPrefix(strings.TrimSpace(string(body)), "[")
	if many {
		err = decode(body, &list)
	} else {
		list = make([]controlRule, 1)
		err = decode(body, &list[0])
	}
	if err != nil {
		return nil, err
	}
	ids := []int{}
	for i := range list {
		rule, err := list[i].rule()
		if err == nil {
			var id int
			id, err = c.cluster.Inject(rule)
			ids = append(ids, id)
		}
		if err != nil {
			for _, id := range ids { // all or none
				c.cluster.Remove(id)
			}
			return nil, err
		}
	}
	if many {
		return map[string]any{"ids": ids}, nil
	}
	return map[string]any{"id": ids[0]}, nil
}

func (c *control) listRules(*http.Request) (any, error) {
	type state struct {
		testcluster.RuleState

		DelayMS float64 `json:"delay_ms,omitempty"`
	}
	list := []state{}
	for _, r := range c.cluster.Rules() {
		list = append(list, state{r, float64(r.Delay) / float64(time.Millisecond)})
	}
	return map[string]any{"rules": list}, nil
}

func (c *control) clearRules(*http.Request) (any, error) {
	c.cluster.ClearRules()
	return done{true}, nil
}

func (c *control) removeRule(r *http.Request) (any, error) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || !c.cluster.Remove(id) {
		return nil, &controlError{http.StatusNotFound, fmt.Sprintf("there is no rule %s", r.PathValue("id"))}
	}
	return done{true}, nil
}

func (c *control) advance(r *http.Request) (any, error) {
	var body struct {
		Seconds *float64 `json:"seconds"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	if body.Seconds == nil || *body.Seconds > maxAdvance.Seconds() {
		return nil, badRequest("seconds is missing, or more than %.0f", maxAdvance.Seconds())
	}
	expired, err := c.cluster.Advance(r.Context(), time.Duration(*body.Seconds*float64(time.Second)))
	if err != nil {
		return nil, err
	}
	return map[string]any{"expired": expired, "now": c.cluster.Now().UTC()}, nil
}

// maxAdvance bounds one step of the clock: expiry times have 32 bits.
const maxAdvance = 50 * 365 * 24 * time.Hour

func (c *control) clock(*http.Request) (any, error) {
	return map[string]any{"now": c.cluster.Now().UTC()}, nil
}

func (c *control) snapshot(r *http.Request) (any, error) {
	c.mu.Lock()
	full := len(c.mu.snapshots) >= maxSnapshots
	c.mu.Unlock()
	if full {
		return nil, &controlError{http.StatusConflict, fmt.Sprintf("there are %d snapshots already; DELETE /snapshot/{id} those that are not needed", maxSnapshots)}
	}
	s, err := c.cluster.Snapshot(r.Context())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.next++
	id := strconv.Itoa(c.mu.next)
	c.mu.snapshots[id] = s
	return map[string]any{"id": id, "documents": s.Documents()}, nil
}

func (c *control) restore(r *http.Request) (any, error) {
	var body struct {
		ID string `json:"id"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	c.mu.Lock()
	s := c.mu.snapshots[body.ID]
	c.mu.Unlock()
	if s == nil {
		return nil, noSnapshot(body.ID)
	}
	if err := c.cluster.Restore(r.Context(), s); err != nil {
		return nil, err
	}
	return map[string]any{"documents": s.Documents()}, nil
}

func noSnapshot(id string) error {
	return &controlError{http.StatusNotFound, fmt.Sprintf("there is no snapshot %q", id)}
}

func (c *control) dropSnapshot(r *http.Request) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := r.PathValue("id")
	if c.mu.snapshots[id] == nil {
		return nil, noSnapshot(id)
	}
	delete(c.mu.snapshots, id)
	return done{true}, nil
}
