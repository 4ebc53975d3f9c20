package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"

	"github.com/charpoy/charpoy/internal/cluster"
	"github.com/charpoy/charpoy/internal/sdkconfig"
	"github.com/charpoy/charpoy/internal/spec"
)

// findBucket gives the bucket of the path.
func (s *Server) findBucket(c *call) (*cluster.State, *cluster.Bucket, error) {
	st, err := s.state()
	if err != nil {
		return nil, nil, err
	}
	b := st.Bucket(c.bucket())
	if b == nil || !uuidFits(c, b.Spec.UUID) {
		return nil, nil, cluster.ErrNoBucket
	}
	return st, b, nil
}

// uuidFits reports whether a request means the bucket with this UUID: the addresses that configurations give carry one, so
// that they do not lead to a later bucket of the same name.
func uuidFits(c *call, uuid string) bool {
	asked := c.r.URL.Query().Get("bucket_uuid")
	return asked == "" || asked == uuid
}

func (s *Server) listBuckets(c *call) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	s.readRates(c.r.Context())
	out := []any{}
	for i := range st.Buckets {
		b := &st.Buckets[i]
		if b.Dropping {
			continue
		}
		if a := s.Auth.Access(c.id, b.Spec.Name); a.MaySelect() {
			out = append(out, s.bucketJSON(st, b, c.r))
		}
	}
	writeJSON(c.w, http.StatusOK, out)
	return nil
}

func (s *Server) getBucket(c *call) error {
	st, b, err := s.findBucket(c)
	if err != nil {
		return err
	}
	s.readRates(c.r.Context())
	writeJSON(c.w, http.StatusOK, s.bucketJSON(st, b, c.r))
	return nil
}

// bucketJSON describes a bucket as the reference does: the members of the configuration, and its settings.
func (s *Server) bucketJSON(st *cluster.State, b *cluster.Bucket, r *http.Request) map[string]any {
	out := map[string]any{}
	if a := st.Assignment.Bucket(b.Spec.Name); a != nil {
		// The configuration is the one place that knows its members. It is valid JSON: sdkconfig is tested for that. Unlike
		// readers of configurations, those of this answer do not replace the host.
		config := sdkconfig.AppendBucket(nil, st.Assignment, a)
		_ = json.Unmarshal(bytes.ReplaceAll(config, []byte("$HOST"), []byte(urlHost(r))), &out)
		for _, name := range []string{"nodesExt", "rev", "revEpoch"} {
			delete(out, name)
		}
	}
	v := &b.Spec
	uri := "/pools/default/buckets/" + escaped(v.Name)
	backend := v.StorageBackend
	if backend == "" || v.Type == spec.Ephemeral {
		backend = "couchstore"
	}
	controllers := map[string]string{}
	if v.FlushEnabled {
		controllers["flush"] = uri + "/controller/doFlush"
	}
	maps.Copy(out, map[string]any{
		"name": v.Name, "uuid": v.UUID, "bucketType": v.Type, "authType": "sasl", "nodeLocator": "vbucket",
		"quota":         map[string]int64{"ram": v.QuotaBytes * int64(len(st.Nodes)), "rawRAM": v.QuotaBytes},
		"replicaNumber": v.NumReplicas, "replicaIndex": v.ReplicaIndex, "evictionPolicy": v.Eviction,
		"conflictResolutionType": v.ConflictResolution, "compressionMode": v.Compression, "maxTTL": v.MaxTTL,
		"durabilityMinLevel": v.MinDurability.String(), "storageBackend": backend, "numVBuckets": v.NumVBuckets,
		"purgeInterval": float64(v.PurgeAge) / (24 * 3600), "autoCompactionSettings": false,
		"controllers": controllers, "nodes": s.nodes(st, r), "basicStats": s.basicStats(b),
		"stats": map[string]string{"uri": uri + "/stats"}, "ddocs": map[string]string{"uri": uri + "/ddocs"},
		"collectionsManifestUid": strconv.FormatUint(b.Manifest.UID, 16),
	})
	return out
}

// basicStats gives a bucket's numbers as last reported.
func (s *Server) basicStats(b *cluster.Bucket) map[string]any {
	report, _ := s.Cluster.Report()
	items, mem, disk := uint64(0), uint64(0), uint64(0)
	if r := bucketReport(report, b); r != nil {
		items, mem, disk = r.Items, r.MemBytes, r.DiskBytes
	}
	return map[string]any{
		"itemCount": items, "memUsed": mem, "dataUsed": disk, "diskUsed": disk, "diskFetches": 0,
		"quotaPercentUsed": 100 * float64(mem) / float64(b.Spec.QuotaBytes), "opsPerSec": s.rates.of(b.Spec.Name),
	}
}

// createBucket makes a bucket and waits a little for it, so that a client that goes on at once finds it usable.
func (s *Server) createBucket(c *call) error {
	f, err := readForm(c.r)
	if err != nil {
		return err
	}
	b, err := newBucket(f)
	if err != nil {
		return err
	}
	if err := s.Cluster.CreateBucket(c.r.Context(), b); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(c.r.Context(), createWait)
	defer cancel()
	if err := s.Cluster.WaitBucketReady(limit, b.Name); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	writeEmpty(c.w, http.StatusAccepted)
	return nil
}

func (s *Server) updateBucket(c *call) error {
	f, err := readForm(c.r)
	if err != nil {
		return err
	}
	err = s.Cluster.UpdateBucket(c.r.Context(), c.bucket(), func(b *spec.Bucket) error {
		f.bad = nil // it may be called again
		return changeBucket(f, b)
	})
	if err != nil {
		return err
	}
	writeEmpty(c.w, http.StatusOK)
	return nil
}

func (s *Server) dropBucket(c *call) error {
	limit, cancel := context.WithTimeout(c.r.Context(), dropWait)
	defer cancel()
	err := s.Cluster.DropBucket(limit, c.bucket())
	if errors.Is(err, context.DeadlineExceeded) {
		f := general(http.StatusInternalServerError, "Bucket deletion not yet complete, but will continue.\r\n")
		f.cause = err
		return f
	}
	if err != nil {
		return err
	}
	writeEmpty(c.w, http.StatusOK)
	return nil
}

func (s *Server) flushBucket(c *call) error {
	limit, cancel := context.WithTimeout(c.r.Context(), flushWait)
	defer cancel()
	if err := s.Cluster.FlushBucket(limit, c.bucket()); err != nil {
		return err
	}
	writeEmpty(c.w, http.StatusOK)
	return nil
}

// scopes gives the manifest; ids are hexadecimal strings (wire.md 9.1).
func (s *Server) scopes(c *call) error {
	_, b, err := s.findBucket(c)
	if err != nil {
		return err
	}
	hex := func(n uint64) string { return strconv.FormatUint(n, 16) }
	scopes := []any{}
	for _, sc := range b.Manifest.Scopes {
		collections := []any{}
		for _, k := range sc.Collections {
			one := map[string]any{"name": k.Name, "uid": hex(uint64(k.ID)), "history": false}
			if k.MaxTTL != 0 {
				one["maxTTL"] = k.MaxTTL
			}
			collections = append(collections, one)
		}
		scopes = append(scopes, map[string]any{"name": sc.Name, "uid": hex(uint64(sc.ID)), "collections": collections})
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"uid": hex(b.Manifest.UID), "scopes": scopes})
	return nil
}

// designDocuments lists none: views do not exist yet.
func (s *Server) designDocuments(c *call) error {
	if _, _, err := s.findBucket(c); err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"rows": []any{}})
	return nil
}

func (s *Server) bucketNodes(c *call) error {
	st, _, err := s.findBucket(c)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"servers": s.nodes(st, c.r)})
	return nil
}
