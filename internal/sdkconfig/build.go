package sdkconfig

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// capabilities tell SDKs which operations they may try. A name stands here only once the operation works: an announced but
// missing one fails worse than one that was never announced (wire.md W4). Preserve expiry has two spellings: clients look
// for the first, the reference's own configurations carry the second.
const capabilities = `["collections","durableWrite","cbhello","touch","cccp","nodesExt",` +
	`"preserve_expiry","preserveExpiry"]`

// host stands for the address that a client dialled; clients replace it themselves.
const host = "$HOST"

// AppendBucket appends the bucket form of the configuration: what a client must know to reach the documents of b, which is
// one of a's buckets. Rows of b that a chain does not fill are −1.
func AppendBucket(dst []byte, a *vbucket.Assignment, b *vbucket.BucketAssignment) []byte {
	w := writer{buf: dst}
	w.begin('{')
	w.head(a)
	name, uuid := pathEscape(b.Spec.Name), b.Spec.UUID
	w.text("name", b.Spec.Name)
	w.text("uuid", uuid)
	w.text("bucketType", string(b.Spec.Type))
	w.text("nodeLocator", "vbucket")
	w.text("storageBackend", "couchstore")
	w.text("uri", "/pools/default/buckets/"+name+"?bucket_uuid="+uuid)
	w.text("streamingUri", "/pools/default/bucketsStreaming/"+name+"?bucket_uuid="+uuid)
	w.name("ddocs")
	w.begin('{')
	w.text("uri", "/pools/default/buckets/"+name+"/ddocs")
	w.end('}')
	w.number("numVBuckets", int64(len(b.Rows)))
	w.text("bucketCapabilitiesVer", "")
	w.raw("bucketCapabilities", capabilities)
	w.text("collectionsManifestUid", strconv.FormatUint(b.Manifest.UID, 16))
	order, place := dataFirst(a.Nodes)
	w.nodes(a, order, &b.Spec)
	w.nodesExt(a, order)
	w.vBucketMap(a, order, place, b)
	w.end('}')
	return w.buf
}

// AppendGlobal appends the global form: the nodes of the cluster, without any bucket.
func AppendGlobal(dst []byte, a *vbucket.Assignment) []byte {
	w := writer{buf: dst}
	w.begin('{')
	w.head(a)
	order, _ := dataFirst(a.Nodes)
	w.nodesExt(a, order)
	w.end('}')
	return w.buf
}

// dataFirst orders the nodes as clients need them: data nodes first. order lists indexes into nodes, place is its inverse.
func dataFirst(nodes []vbucket.Node) (order, place []int) {
	place = make([]int, len(nodes))
	for _, data := range [...]bool{true, false} {
		for i := range nodes {
			if nodes[i].Data == data {
				place[i] = len(order)
				order = append(order, i)
			}
		}
	}
	return order, place
}

// writer appends JSON. It puts commas where they belong: first is whether the next item is the first of its container.
type writer struct {
	buf   []byte
	first bool
}

func (w *writer) item() {
	if !w.first {
		w.buf = append(w.buf, ',')
	}
	w.first = false
}

func (w *writer) begin(c byte)    { w.buf, w.first = append(w.buf, c), true }
func (w *writer) end(c byte)      { w.buf, w.first = append(w.buf, c), false }
func (w *writer) name(key string) { w.item(); w.buf = append(appendString(w.buf, key), ':') }

func (w *writer) text(key, v string) { w.name(key); w.buf = appendString(w.buf, v) }
func (w *writer) raw(key, v string)  { w.name(key); w.buf = append(w.buf, v...) }
func (w *writer) number(key string, v int64) {
	w.name(key)
	w.buf = strconv.AppendInt(w.buf, v, 10)
}

func (w *writer) head(a *vbucket.Assignment) {
	w.number("rev", a.Rev)
	w.number("revEpoch", a.RevEpoch)
	w.text("clusterName", a.ClusterName)
	w.text("clusterUUID", a.ClusterUUID)
	w.raw("clusterCapabilitiesVer", "[1,0]")
	w.raw("clusterCapabilities", "{}")
}

// nodes lists the data nodes of a bucket with their main addresses.
func (w *writer) nodes(a *vbucket.Assignment, order []int, b *spec.Bucket) {
	w.name("nodes")
	w.begin('[')
	for _, i := range order {
		n := &a.Nodes[i]
		if !n.Data {
			continue
		}
		w.item()
		w.begin('{')
		w.text("hostname", address(n, "mgmt"))
		w.name("ports")
		w.begin('{')
		w.number("direct", int64(n.Ports["kv"]))
		w.end('}')
		if n.Ports["capi"] != 0 {
			w.text("couchApiBase", "http://"+address(n, "capi")+"/"+pathEscape(b.Name)+"%2B"+b.UUID)
		}
		w.end('}')
	}
	w.end(']')
}

// nodesExt lists all nodes with all services. A node without a host name is reached at the address that was dialled.
func (w *writer) nodesExt(a *vbucket.Assignment, order []int) {
	w.name("nodesExt")
	w.begin('[')
	for _, i := range order {
		n := &a.Nodes[i]
		w.item()
		w.begin('{')
		if i == a.Self {
			w.raw("thisNode", "true")
		}
		if n.Hostname != "" {
			w.text("hostname", n.Hostname)
		}
		w.text("nodeUUID", n.UUID)
		if n.Group != "" {
			w.text("serverGroup", n.Group)
		}
		w.name("services")
		w.begin('{')
		for _, service := range slices.Sorted(maps.Keys(n.Ports)) {
			if n.Ports[service] != 0 {
				w.number(service, int64(n.Ports[service]))
			}
		}
		w.end('}')
		w.end('}')
	}
	w.end(']')
}

func (w *writer) vBucketMap(a *vbucket.Assignment, order, place []int, b *vbucket.BucketAssignment) {
	w.name("vBucketServerMap")
	w.begin('{')
	w.text("hashAlgorithm", "CRC")
	w.number("numReplicas", int64(b.Spec.NumReplicas))
	w.name("serverList")
	w.begin('[')
	for _, i := range order {
		if a.Nodes[i].Data {
			w.item()
			w.buf = appendString(w.buf, address(&a.Nodes[i], "kv"))
		}
	}
	w.end(']')
	w.name("vBucketMap")
	w.begin('[')
	for i := range b.Rows {
		w.item()
		w.begin('[')
		for copyNo := range b.Spec.NumReplicas + 1 {
			member := -1
			if chain := b.Rows[i].Chain; copyNo < len(chain) && chain[copyNo] >= 0 && int(chain[copyNo]) < len(place) {
				member = place[chain[copyNo]]
			}
			w.item()
			w.buf = strconv.AppendInt(w.buf, int64(member), 10)
		}
		w.end(']')
	}
	w.end(']')
	w.end('}')
}

// address joins a node's host and the port of a service. IPv6 literals get brackets.
func address(n *vbucket.Node, service string) string {
	name := n.Hostname
	if name == "" {
		name = host
	} else if strings.Contains(name, ":") { // only IPv6 literals have one
		name = "[" + name + "]"
	}
	return name + ":" + strconv.Itoa(n.Ports[service])
}

// pathEscape makes a bucket's name fit for a URL path: of the characters that names may have, only % is special.
func pathEscape(name string) string {
	out := make([]byte, 0, len(name))
	for i := range len(name) {
		if name[i] == '%' {
			out = append(out, "%25"...)
			continue
		}
		out = append(out, name[i])
	}
	return string(out)
}

// appendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
