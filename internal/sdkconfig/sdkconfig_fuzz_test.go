package sdkconfig_test

import (
	"testing"

	"github.com/charpoy/charpoy/internal/sdkconfig"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// FuzzConfigParse feeds arbitrary texts: no panic, and every index of a map that was accepted can be followed.
func FuzzConfigParse(f *testing.F) {
	f.Add(sdkconfig.AppendBucket(nil, three(), &three().Buckets[0]))
	f.Add(sdkconfig.AppendGlobal(nil, solo()))
	f.Add([]byte(`{"nodesExt":[{"hostname":"$HOST"}],"vBucketServerMap":{"serverList":["a"],"vBucketMap":[[0]]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := sdkconfig.Parse(text, "127.0.0.1")
		if err != nil {
			return
		}
		for vb := range len(c.Map) + 1 {
			if n, ok := c.Active(vbucket.ID(vb)); ok && n.Services["kv"] > 65535 {
				t.Fatalf("port %d", n.Services["kv"])
			}
		}
		for _, row := range c.Map {
			for _, member := range row {
				if member >= 0 {
					_ = c.Nodes[member]
				}
			}
		}
	})
}
