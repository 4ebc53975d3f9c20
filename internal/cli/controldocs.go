package cli

import (
	"fmt"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/testcluster"
)

// The part of the control channel that shows and makes documents, and handles nodes.

func (c *control) ops(r *http.Request) (any, error) {
	last := 0
	if text := r.URL.Query().Get("last"); text != "" {
		var err error
		if last, err = strconv.Atoi(text); err != nil || last < 1 {
			return nil, badRequest("last is a number from 1, not %q", text)
		}
	}
	type named struct {
		testcluster.Op

		StatusName string `json:"status_name"`
	}
	list := []named{}
	for _, o := range c.cluster.Ops(last) {
		list = append(list, named{o, testcluster.StatusName(o.Status)})
	}
	return map[string]any{"ops": list}, nil
}

func (c *control) clearOps(*http.Request) (any, error) {
	c.cluster.ClearOps()
	return done{true}, nil
}

// controlDocument is a document as the control channel gives it. A CAS has more bits than a JSON number keeps, so it is text.
type controlDocument struct {
	Key    string  `json:"key"`
	Value  rawJSON `json:"value,omitempty"`
	Base64 []byte  `json:"base64,omitempty"` // instead of a value that is not JSON
	Text   string  `json:"text,omitempty"`   // beside it, if it is text
	Flags  uint32  `json:"flags"`
	Expiry uint32  `json:"expiry"` // Unix seconds, 0 = none
	CAS    string  `json:"cas"`
}

// rawJSON is JSON as it is stored.
type rawJSON []byte

// MarshalJSON gives it as it is.
func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

func (c *control) doc(r *http.Request) (any, error) {
	q := r.URL.Query()
	bucket, key := q.Get("bucket"), q.Get("key")
	if bucket == "" || key == "" {
		return nil, badRequest("bucket and key are needed: GET /doc?bucket=B&key=K")
	}
	d, found, err := c.cluster.Doc(r.Context(), bucket, q.Get("collection"), key)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &controlError{http.StatusNotFound, fmt.Sprintf("there is no document %q in %s", key, bucket)}
	}
	out := controlDocument{Key: key, Flags: d.Flags, Expiry: d.Expiry, CAS: strconv.FormatUint(d.CAS, 10)}
	switch {
	case d.JSON:
		out.Value = d.Value
	default:
		out.Base64 = d.Value
		if utf8.Valid(d.Value) {
			out.Text = string(d.Value)
		}
	}
	return out, nil
}

func (c *control) seed(r *http.Request) (any, error) {
	bucket := r.URL.Query().Get("bucket")
	if bucket == "" {
		return nil, badRequest("bucket is needed: POST /seed?bucket=B")
	}
	loaded, err := c.cluster.SeedLines(r.Context(), r.Body, bucket)
	if err != nil {
		return nil, err
	}
	return map[string]any{"loaded": loaded}, nil
}

// controlNode describes a node.
type controlNode struct {
	Number int               `json:"number"`
	State  testcluster.State `json:"state"`
	Ports  config.Ports      `json:"ports"`
}

func describeNode(n *testcluster.Node) controlNode {
	return controlNode{n.Number(), n.State(), n.Ports()}
}

func (c *control) nodes(*http.Request) (any, error) {
	list := []controlNode{}
	for _, n := range c.cluster.Nodes() {
		list = append(list, describeNode(n))
	}
	return map[string]any{"nodes": list}, nil
}

func (c *control) node(r *http.Request) (any, error) {
	number, err := strconv.Atoi(r.PathValue("number"))
	n := c.cluster.Node(number)
	if err != nil || n == nil {
		return nil, &controlError{http.StatusNotFound, fmt.Sprintf("there is no node %s; the first one is 1", r.PathValue("number"))}
	}
	switch action := r.PathValue("action"); action {
	case "kill":
		n.Kill()
	case "pause":
		err = n.Pause()
	case "resume":
		err = n.Resume()
	case "restart":
		err = n.Restart(r.Context())
	default:
		return nil, &controlError{http.StatusNotFound, fmt.Sprintf("a node can be told to kill, pause, resume or restart, not to %s", action)}
	}
	if err != nil {
		return nil, err
	}
	return describeNode(n), nil
}
