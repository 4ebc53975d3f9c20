package sdkconfig_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/sdkconfig"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

var update = flag.Bool("update", false, "write the golden files anew")

// solo is a cluster of one node on loopback, which has no host name.
func solo() *vbucket.Assignment {
	return &vbucket.Assignment{
		RevEpoch: 1, Rev: 17, ClusterName: `my "cluster"`, ClusterUUID: "c0ffee00c0ffee00c0ffee00c0ffee00",
		Nodes: []vbucket.Node{{
			UUID: "a1", Data: true, Ports: map[string]int{"kv": 11210, "mgmt": 8091, "capi": 8092, "kvSSL": 0},
		}},
		Buckets: []vbucket.BucketAssignment{{
			Spec: spec.Bucket{Name: "100%", UUID: "b1", Type: spec.Persistent}, Manifest: spec.Manifest{UID: 31},
			Rows: []vbucket.Row{{Chain: []int16{0}}, {Chain: []int16{0}}, {Chain: nil}, {Chain: []int16{0}}},
		}},
	}
}

// three is a cluster of three nodes: the first of them holds no documents, so the order in configurations is another.
func three() *vbucket.Assignment {
	ports := map[string]int{"kv": 11210, "kvSSL": 11207, "mgmt": 8091, "mgmtSSL": 18091, "capi": 8092, "capiSSL": 18092}
	return &vbucket.Assignment{
		RevEpoch: 3, Rev: 1042, ClusterName: "prod-eu", ClusterUUID: "c1", Self: 2,
		Nodes: []vbucket.Node{
			{UUID: "n0", Hostname: "10.0.0.3", Ports: map[string]int{"mgmt": 8091}, Group: "rack-c"},
			{UUID: "n1", Hostname: "10.0.0.1", Ports: ports, Data: true, Group: "rack-a"},
			{UUID: "n2", Hostname: "fd00::2", Ports: ports, Data: true},
		},
		Buckets: []vbucket.BucketAssignment{{
			Spec: spec.Bucket{Name: "travel", UUID: "5f0c", Type: spec.Ephemeral, NumReplicas: 1}, Manifest: spec.NewManifest(),
			Rows: []vbucket.Row{{Chain: []int16{1, 2}}, {Chain: []int16{2, 1}}, {Chain: []int16{1}}, {Chain: []int16{-1, 7}}},
		}},
	}
}

func compact(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", " "); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, b)
	}
	return append(out.Bytes(), '\n')
}

// TestGolden compares both forms of both clusters with the files of testdata; -update writes those anew.
func TestGolden(t *testing.T) {
	for name, got := range map[string][]byte{
		"solo_bucket":  sdkconfig.AppendBucket(nil, solo(), &solo().Buckets[0]),
		"solo_global":  sdkconfig.AppendGlobal(nil, solo()),
		"three_bucket": sdkconfig.AppendBucket(nil, three(), &three().Buckets[0]),
		"three_global": sdkconfig.AppendGlobal(nil, three()),
	} {
		file := filepath.Join("testdata", name+".json")
		got = compact(t, got)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from its golden file:\n%s", name, got)
		}
	}
}

// TestForms checks what clients tell the forms apart by, and what they stumble over (wire.md 5).
func TestForms(t *testing.T) {
	var global map[string]any
	if err := json.Unmarshal(sdkconfig.AppendGlobal(nil, solo()), &global); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"name", "uuid", "nodeLocator", "vBucketServerMap"} {
		if _, ok := global[key]; ok {
			t.Errorf("the global form has %s", key)
		}
	}
	text := string(sdkconfig.AppendBucket(nil, solo(), &solo().Buckets[0]))
	for _, part := range []string{
		`"collectionsManifestUid":"1f"`, `"hostname":"$HOST:8091"`, `"couchApiBase":"http://$HOST:8092/100%25%2Bb1"`,
		`"serverList":["$HOST:11210"]`, `"vBucketMap":[[0],[0],[-1],[0]]`, `/pools/default/buckets/100%25?bucket_uuid=b1`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is missing in\n%s", part, text)
		}
	}
	if strings.Contains(text, "kvSSL") {
		t.Error("a service without a port is listed")
	}
	if text[0] != '{' || string(sdkconfig.AppendGlobal([]byte("x"), solo())[:2]) != "x{" {
		t.Error("what stood before was not kept")
	}
}

// TestParse reads what was built and follows the map.
func TestParse(t *testing.T) {
	c, err := sdkconfig.Parse(sdkconfig.AppendBucket(nil, three(), &three().Buckets[0]), "10.9.9.9")
	if err != nil {
		t.Fatal(err)
	}
	if c.Rev != 1042 || c.RevEpoch != 3 || c.Name != "travel" || c.UUID != "5f0c" || c.NumReplicas != 1 || len(c.Nodes) != 3 {
		t.Errorf("%+v", c)
	}
	n, ok := c.Active(1)
	if !ok || n.Hostname != "fd00::2" || !n.This || n.Services["kvSSL"] != 11207 {
		t.Errorf("active of vBucket 1: %+v, %v", n, ok)
	}
	for _, vb := range []vbucket.ID{3, 4} {
		if _, ok := c.Active(vb); ok {
			t.Errorf("vBucket %d has an active", vb)
		}
	}
	alone, err := sdkconfig.Parse(sdkconfig.AppendGlobal(nil, solo()), "10.9.9.9")
	if err != nil || alone.Nodes[0].Hostname != "10.9.9.9" || len(alone.Map) != 0 {
		t.Errorf("%+v, %v", alone, err)
	}
	if !c.Newer(alone) || alone.Newer(c) || !alone.Newer(nil) || c.Newer(c) {
		t.Error("order of configurations")
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":           `{`,
		"no nodes":           `{"rev":1}`,
		"port":               `{"nodesExt":[{"services":{"kv":70000}}]}`,
		"bucket, no map":     `{"name":"b","nodesExt":[{"services":{"kv":1}}]}`,
		"manifest uid":       `{"collectionsManifestUid":"0x1","nodesExt":[{}]}`,
		"manifest number":    `{"collectionsManifestUid":1,"nodesExt":[{}]}`,
		"three vBuckets":     `{"nodesExt":[{}],"vBucketServerMap":{"serverList":["a"],"vBucketMap":[[0],[0],[0]]}}`,
		"no vBuckets":        `{"nodesExt":[{}],"vBucketServerMap":{"serverList":["a"],"vBucketMap":[]}}`,
		"index too large":    `{"nodesExt":[{}],"vBucketServerMap":{"serverList":["a"],"vBucketMap":[[1]]}}`,
		"index too small":    `{"nodesExt":[{}],"vBucketServerMap":{"serverList":["a"],"vBucketMap":[[-2]]}}`,
		"row too long":       `{"nodesExt":[{}],"vBucketServerMap":{"serverList":["a"],"vBucketMap":[[0,0]]}}`,
		"empty row":          `{"nodesExt":[{}],"vBucketServerMap":{"serverList":["a"],"vBucketMap":[[]]}}`,
		"replicas":           `{"nodesExt":[{}],"vBucketServerMap":{"numReplicas":-1,"serverList":["a"],"vBucketMap":[[]]}}`,
		"servers over nodes": `{"nodesExt":[{}],"vBucketServerMap":{"serverList":["a","b"],"vBucketMap":[[1]]}}`,
	} {
		if c, err := sdkconfig.Parse([]byte(text), "h"); !errors.Is(err, sdkconfig.ErrConfig) || c != nil && name == "not JSON" {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}
