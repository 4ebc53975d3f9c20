package cluster

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// The keys of the store (cluster.md 5.1; docs/formats/cluster-state.md). Values are JSON but for the rows.
const (
	prefix        = "/charpoy/v1/"
	keyMeta       = prefix + "meta"
	keySettings   = prefix + "set/cluster"
	keyQuota      = prefix + "set/quota" // no content: put by whatever takes memory, so that two at once cannot exceed the quota
	prefixNode    = prefix + "nodes/"    // and the id in five digits
	prefixBucket  = prefix + "bucket/"
	prefixName    = prefix + "bucketname/"
	prefixMan     = prefix + "manifest/"
	prefixRows    = prefix + "vb/"
	prefixUser    = prefix + "sec/user/"
	prefixGroup   = prefix + "sec/group/"
	rowsPerShard  = 64
	keySelf       = prefixNode + "00001"
	selfID        = 1 // of the first node; the only one until others can join
	compatVersion = 1 // of what the keys mean
)

// metaValue is the value of keyMeta.
type metaValue struct {
	ClusterUUID string `json:"clusterUUID"`
	RevEpoch    int64  `json:"revEpoch"` // rises when configuration may have been lost
	RevBase     int64  `json:"revBase"`  // added to the store's revision; keeps it rising over a change of store
	Compat      int    `json:"compat"`
}

// settingsValue is the value of keySettings.
type settingsValue struct {
	ClusterName    string `json:"clusterName"`
	MemoryQuotaMiB int64  `json:"memoryQuotaMiB,omitempty"` // for all buckets of a node; 0 = no bound
}

// nodeValue is the value of a node's key.
type nodeValue struct {
	ID       int            `json:"id"`
	UUID     string         `json:"uuid"`
	Hostname string         `json:"hostname,omitempty"`
	Ports    map[string]int `json:"ports"`
	Data     bool           `json:"data"`
	Group    string         `json:"group,omitempty"`
}

func valueOf(id int, n vbucket.Node) nodeValue {
	return nodeValue{ID: id, UUID: n.UUID, Hostname: n.Hostname, Ports: n.Ports, Data: n.Data, Group: n.Group}
}

func (v nodeValue) node() vbucket.Node {
	return vbucket.Node{UUID: v.UUID, Hostname: v.Hostname, Ports: v.Ports, Data: v.Data, Group: v.Group}
}

// bucketValue is the value of a bucket's key.
type bucketValue struct {
	Spec     spec.Bucket `json:"spec"`
	Dropping bool        `json:"dropping,omitempty"` // out of the Assignment; forgotten when the data plane has let go
}

func keyBucket(uuid string) string { return prefixBucket + uuid }
func keyMan(uuid string) string    { return prefixMan + uuid }

// keyName is for the name in lower case: names that differ in case only would be too easy to mix up.
func keyName(name string) string { return prefixName + strings.ToLower(name) }

func keyRows(uuid string, shard int) string { return fmt.Sprintf("%s%s/%02d", prefixRows, uuid, shard) }

func keyUser(d spec.Domain, id string) string { return prefixUser + string(d) + "/" + id }
func keyGroup(id string) string               { return prefixGroup + id }

// putJSON makes a Put of a value that is a plain struct.
func putJSON(key string, v any) store.Put {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own structs always encode
	}
	return store.Put{Key: key, Value: text}
}
