package sdkconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// ErrConfig says that the bytes are not a usable configuration.
var ErrConfig = errors.New("not a usable cluster configuration")

// maxReplicas bounds the copies in a row beyond what this cluster would serve: a configuration may come from elsewhere.
const maxReplicas = 15

// Config is a parsed configuration.
type Config struct {
	RevEpoch    int64
	Rev         int64
	ClusterName string
	ClusterUUID string
	Name        string // of the bucket; empty in the global form
	UUID        string // of the bucket; empty in the global form
	ManifestUID uint64
	Nodes       []Node    // all nodes; Map refers to them by index
	Map         [][]int16 // by vBucket: the active's index into Nodes, then the replicas'; −1 = nobody. Empty in the global form
	NumReplicas int
}

// Node is one node of a configuration.
type Node struct {
	Hostname string // never empty: where the configuration had none, the address that was dialled
	UUID     string
	Group    string
	This     bool           // the node that answered
	Services map[string]int // "kv", "kvSSL", "mgmt", "mgmtSSL", "capi", "capiSSL" to port
}

// Newer reports whether c supersedes other; anything supersedes nil.
func (c *Config) Newer(other *Config) bool {
	return other == nil || c.RevEpoch > other.RevEpoch || c.RevEpoch == other.RevEpoch && c.Rev > other.Rev
}

// Active gives the node that serves vb for writes; ok is false if nobody does.
func (c *Config) Active(vb vbucket.ID) (n *Node, ok bool) {
	if int(vb) >= len(c.Map) || c.Map[vb][0] < 0 {
		return nil, false
	}
	return &c.Nodes[c.Map[vb][0]], true
}

// document mirrors the JSON.
type document struct {
	Rev         int64  `json:"rev"`
	RevEpoch    int64  `json:"revEpoch"`
	ClusterName string `json:"clusterName"`
	ClusterUUID string `json:"clusterUUID"`
	Name        string `json:"name"`
	UUID        string `json:"uuid"`
	ManifestUID string `json:"collectionsManifestUid"`
	NodesExt    []struct {
		Hostname string         `json:"hostname"`
		NodeUUID string         `json:"nodeUUID"`
		Group    string         `json:"serverGroup"`
		ThisNode bool           `json:"thisNode"`
		Services map[string]int `json:"services"`
	} `json:"nodesExt"`
	Map *struct {
		NumReplicas int       `json:"numReplicas"`
		ServerList  []string  `json:"serverList"`
		VBucketMap  [][]int16 `json:"vBucketMap"`
	} `json:"vBucketServerMap"`
}

// Parse reads either form. dialled is the host (without port) at which the answering node was reached; it takes the place of
// $HOST and of missing host names. Errors wrap ErrConfig. The result shares nothing with text.
func Parse(text []byte, dialled string) (*Config, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c := &Config{
		RevEpoch: d.RevEpoch, Rev: d.Rev, ClusterName: d.ClusterName, ClusterUUID: d.ClusterUUID, Name: d.Name, UUID: d.UUID,
	}
	if len(d.NodesExt) == 0 {
		return nil, fmt.Errorf("%w: it lists no nodes", ErrConfig)
	}
	if d.ManifestUID != "" {
		uid, err := strconv.ParseUint(d.ManifestUID, 16, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: manifest uid: %w", ErrConfig, err)
		}
		c.ManifestUID = uid
	}
	for i := range d.NodesExt {
		e := &d.NodesExt[i]
		n := Node{Hostname: dialled, UUID: e.NodeUUID, Group: e.Group, This: e.ThisNode, Services: e.Services}
		if e.Hostname != "" {
			n.Hostname = strings.ReplaceAll(e.Hostname, host, dialled)
		}
		for service, port := range n.Services {
			if port < 1 || port > 65535 {
				return nil, fmt.Errorf("%w: port %d of %s", ErrConfig, port, service)
			}
		}
		c.Nodes = append(c.Nodes, n)
	}
	if d.Map == nil {
		if d.Name != "" {
			return nil, fmt.Errorf("%w: bucket %s has no vBucket map", ErrConfig, d.Name)
		}
		return c, nil
	}
	c.Map, c.NumReplicas = d.Map.VBucketMap, d.Map.NumReplicas
	if err := c.checkMap(len(d.Map.ServerList)); err != nil {
		return nil, err
	}
	return c, nil
}

// checkMap makes sure that every index of the map can be followed.
func (c *Config) checkMap(servers int) error {
	switch {
	case c.NumReplicas < 0 || c.NumReplicas > maxReplicas:
		return fmt.Errorf("%w: %d replicas", ErrConfig, c.NumReplicas)
	case !vbucket.ValidCount(len(c.Map)):
		return fmt.Errorf("%w: %d vBuckets", ErrConfig, len(c.Map))
	case servers > len(c.Nodes):
		return fmt.Errorf("%w: more servers than nodes", ErrConfig)
	}
	for vb, row := range c.Map {
		if len(row) != c.NumReplicas+1 {
			return fmt.Errorf("%w: vBucket %d has %d copies, want %d", ErrConfig, vb, len(row), c.NumReplicas+1)
		}
		for _, member := range row {
			if member < -1 || int(member) >= servers {
				return fmt.Errorf("%w: vBucket %d is on server %d of %d", ErrConfig, vb, member, servers)
			}
		}
	}
	return nil
}
