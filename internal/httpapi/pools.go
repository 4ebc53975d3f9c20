package httpapi

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/cluster"
	"github.com/charpoy/charpoy/internal/sdkconfig"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// compatibility is the cluster compatibility of ServerVersion: major version times 65536 plus minor.
const compatibility = 7<<16 + 6

// staleAfter is the age of a report at which a node counts as unhealthy; reports come four times a second.
const staleAfter = 5 * time.Second

// state gives the cluster's state, or the error that says to come back.
func (s *Server) state() (*cluster.State, error) {
	if st := s.Cluster.State(); st != nil {
		return st, nil
	}
	return nil, cluster.ErrNotReady
}

func (s *Server) implementation() string { return ServerVersion + "-0-charpoy" }

// root answers the pings of SDKs.
func (s *Server) root(c *call) error {
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(c.w, "Charpoy %s: management port\n", s.Version) // a client that is gone cannot be told
	return nil
}

func (s *Server) pools(c *call) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	a := s.Auth.Access(c.id, "")
	writeJSON(c.w, http.StatusOK, map[string]any{
		"isAdminCreds":          a.Has(auth.Administrator),
		"isROAdminCreds":        !a.Has(auth.Administrator) && a.Has(auth.UsersRead|auth.Stats),
		"isEnterprise":          false,
		"implementationVersion": s.implementation(),
		"uuid":                  st.UUID,
		"pools": []any{map[string]any{
			"name": "default", "uri": "/pools/default?uuid=" + st.UUID,
		}},
		"componentsVersion": map[string]string{"charpoy": s.Version, "go": runtime.Version()},
	})
	return nil
}

func (s *Server) versions(c *call) error {
	writeJSON(c.w, http.StatusOK, map[string]any{
		"implementationVersion": s.implementation(),
		"componentsVersion":     map[string]string{"charpoy": s.Version, "go": runtime.Version()},
	})
	return nil
}

func (s *Server) pool(c *call) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, map[string]any{
		"name":            "default",
		"clusterName":     st.Name,
		"balanced":        true,
		"rebalanceStatus": "none",
		"nodes":           s.nodes(st, c.r),
		"memoryQuota":     st.MemoryQuotaMiB,
		"storageTotals":   s.storageTotals(st),
		"maxBucketCount":  spec.MaxBuckets,
		"tasks":           map[string]string{"uri": "/pools/default/tasks"},
		"nodeServicesUri": "/pools/default/nodeServices",
		"controllers":     map[string]any{},
		"counters":        map[string]any{},
		"alerts":          []any{},
		"buckets": map[string]string{
			"uri": "/pools/default/buckets", "terseBucketsBase": "/pools/default/b/", "terseStreamingBucketsBase": "/pools/default/bs/",
		},
	})
	return nil
}

// storageTotals sums up what the buckets were promised and use.
func (s *Server) storageTotals(st *cluster.State) map[string]any {
	quota, mem, disk := int64(0), uint64(0), uint64(0)
	report, _ := s.Cluster.Report()
	for _, b := range st.Buckets {
		quota += b.Spec.QuotaBytes
		if r := bucketReport(report, &b); r != nil {
			mem, disk = mem+r.MemBytes, disk+r.DiskBytes
		}
	}
	return map[string]any{
		"ram": map[string]any{"total": s.MemoryBytes, "quotaTotal": st.MemoryQuotaMiB << 20, "quotaUsed": quota, "usedByData": mem},
		"hdd": map[string]any{"usedByData": disk},
	}
}

// changePool changes what belongs to the cluster as a whole.
func (s *Server) changePool(c *call) error {
	f, err := readForm(c.r)
	if err != nil {
		return err
	}
	quota, hasQuota := f.number("memoryQuota", 0, 1<<30, "The data service quota must be a whole number of MiB.")
	name, hasName := f.text("clusterName")
	if len(name) > 256 {
		f.fail("clusterName", "The name must not have more than 256 bytes.")
	}
	if err := f.err(); err != nil {
		return err
	}
	if hasQuota {
		err := s.Cluster.SetMemoryQuota(c.r.Context(), quota)
		if errors.Is(err, cluster.ErrQuotaExceeded) {
			return invalid("memoryQuota", "The data service quota cannot be less than what the buckets have.")
		}
		if err != nil {
			return err
		}
	}
	if hasName {
		if err := s.Cluster.SetClusterName(c.r.Context(), name); err != nil {
			return err
		}
	}
	writeEmpty(c.w, http.StatusOK)
	return nil
}

// nodes describes all nodes as the reference does. A node without a host name is called by the one that the client used.
func (s *Server) nodes(st *cluster.State, r *http.Request) []any {
	report, age := s.Cluster.Report()
	status := "healthy"
	switch {
	case report == nil || age > staleAfter:
		status = "unhealthy"
	case !allReady(st, report):
		status = "warmup"
	}
	out := make([]any, len(st.Nodes))
	for i := range st.Nodes {
		out[i] = s.node(&st.Nodes[i], i == st.Self, status, r)
	}
	return out
}

func allReady(st *cluster.State, report *vbucket.Report) bool {
	for _, b := range st.Buckets {
		r := bucketReport(report, &b)
		if !b.Dropping && (r == nil || !r.Ready) {
			return false
		}
	}
	return true
}

// bucketReport finds what was reported of a bucket; nil if nothing was.
func bucketReport(report *vbucket.Report, b *cluster.Bucket) *vbucket.BucketReport {
	if report == nil {
		return nil
	}
	if r := report.Bucket(b.Spec.Name); r != nil && r.UUID == b.Spec.UUID {
		return r
	}
	return nil
}

func (s *Server) node(n *vbucket.Node, self bool, status string, r *http.Request) map[string]any {
	host := n.Hostname
	if host == "" {
		host = dialledHost(r)
	}
	address := net.JoinHostPort(host, strconv.Itoa(n.Ports["mgmt"]))
	services := []string{}
	if n.Data {
		services = append(services, "kv")
	}
	group := n.Group
	if group == "" {
		group = "Group 1"
	}
	ports := map[string]int{"direct": n.Ports["kv"]}
	if n.Ports["mgmtSSL"] != 0 {
		ports["httpsMgmt"] = n.Ports["mgmtSSL"]
	}
	out := map[string]any{
		"hostname": address, "configuredHostname": address, "thisNode": self, "nodeUUID": n.UUID,
		"otpNode": "n_0@" + host, "status": status, "version": s.implementation(), "clusterMembership": "active",
		"clusterCompatibility": compatibility, "recoveryType": "none", "services": services, "ports": ports,
		"serverGroup": group, "os": runtime.GOOS + "-" + runtime.GOARCH, "cpuCount": runtime.NumCPU(),
		"systemStats": map[string]any{"mem_total": s.MemoryBytes}, "memoryTotal": s.MemoryBytes,
		"uptime": strconv.Itoa(int(time.Since(s.started).Seconds())), "interestingStats": map[string]any{},
	}
	if n.Ports["capi"] != 0 {
		out["couchApiBase"] = "http://" + net.JoinHostPort(host, strconv.Itoa(n.Ports["capi"])) + "/"
	}
	return out
}

// dialledHost gives the host name that the client used for us.
func dialledHost(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "" {
		return "127.0.0.1"
	}
	return host
}

// urlHost is dialledHost as it stands before a port: IPv6 addresses in brackets. What cannot be a host is left out, since it
// goes into JSON.
func urlHost(r *http.Request) string {
	host := dialledHost(r)
	if strings.ContainsAny(host, "\"\\") || strings.IndexFunc(host, func(c rune) bool { return c <= ' ' }) >= 0 {
		return "127.0.0.1"
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

func (s *Server) self(c *call) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	all := s.nodes(st, c.r)
	self, _ := all[st.Self].(map[string]any)
	if s.Auth.Access(c.id, "").Has(auth.Administrator) {
		self["storage"] = map[string]any{"hdd": []any{map[string]string{"path": s.PathData}}}
	}
	writeJSON(c.w, http.StatusOK, self)
	return nil
}

// nodeServices gives the global form of the configuration.
func (s *Server) nodeServices(c *call) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	writeConfig(c.w, sdkconfig.AppendGlobal(nil, st.Assignment))
	return nil
}

func writeConfig(w http.ResponseWriter, config []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(config) // a client that is gone cannot be told
}

func (s *Server) tasks(c *call) error {
	writeJSON(c.w, http.StatusOK, []any{map[string]string{"type": "rebalance", "status": "notRunning"}})
	return nil
}

func (s *Server) rebalanceProgress(c *call) error {
	writeJSON(c.w, http.StatusOK, map[string]string{"status": "none"})
	return nil
}

// certificate gives what clients have to trust.
func (s *Server) certificate(c *call) error {
	if s.CA == nil {
		return notFound()
	}
	text, err := s.CA()
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	c.w.Header().Set("Content-Type", "text/plain")
	_, _ = c.w.Write(text) // a client that is gone cannot be told
	return nil
}

// escaped gives a bucket's name as part of a path.
func escaped(bucket string) string { return url.PathEscape(bucket) }
