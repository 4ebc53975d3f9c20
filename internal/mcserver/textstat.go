package mcserver

import (
	"context"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mctext"
)

// putStat takes one line of statistics.
type putStat func(name, value string)

func (put putStat) num(name string, n uint64) { put(name, strconv.FormatUint(n, 10)) }

// textStats answers stats.
func (c *conn) textStats(_ context.Context, w *work, command *mctext.Command, _ *kv.Key) (outcome, error) {
	words := strings.Fields(string(command.Args))
	if len(words) > 0 && words[0] == "detail" {
		return c.textStatsDetail(w, words[1:])
	}
	if len(words) == 1 && words[0] == "reset" {
		c.server.plain.reset()
		return w.line("RESET")
	}
	known, err := c.plainStats(words, func(name, value string) { w.out = mctext.AppendStat(w.out, name, value) })
	switch {
	case err != nil:
		return refused, err
	case !known:
		return w.refusal(mctext.FaultUnknown)
	}
	w.out = mctext.AppendEnd(w.out)
	return succeeded, nil
}

// textStatsDetail answers stats detail: nothing is counted by prefixes of keys.
func (c *conn) textStatsDetail(w *work, words []string) (outcome, error) {
	if len(words) == 1 {
		switch words[0] {
		case "on", "off":
			return w.line("OK")
		case "dump":
			return w.line("END")
		}
	}
	return w.refusal("CLIENT_ERROR usage: stats detail on|off|dump")
}

// plainStats puts a group of statistics of the memcached port; the one without a name is the general one. It reports whether
// there is such a group.
func (c *conn) plainStats(words []string, put putStat) (known bool, err error) {
	if len(words) == 0 {
		c.plainGeneral(put)
		return true, nil
	}
	switch words[0] {
	case "settings":
		c.plainSettings(put)
	case "items":
		c.plainItems(put)
	case "slabs":
		c.plainSlabs(put)
	case "sizes":
		put("sizes_status", "disabled")
	case "conns":
		if s := &c.session; !s.builtin && !s.access.Has(auth.Stats) {
			return true, auth.ErrNotAllowed
		}
		c.plainConnections(put)
	default:
		return false, nil
	}
	return true, nil
}

// bucketStats describes the port's bucket; everything is 0 while there is none.
func (c *conn) bucketStats() kv.Stats {
	if c.enterBucket() != nil || c.session.bucket == nil {
		return kv.Stats{}
	}
	return c.session.bucket.KV().Stats()
}

// plainGeneral puts what clients and exporters read, with memcached's names (wire.md 22.8). What has no meaning here is 0.
func (c *conn) plainGeneral(put putStat) {
	s := c.server
	port := c.port
	st := c.bucketStats()
	put.num("pid", uint64(os.Getpid()))
	put.num("uptime", uint64(time.Since(s.node.Started())/time.Second))
	put.num("time", uint64(s.clock.Now().Unix()))
	put("version", memcachedVersion)
	put("libevent", "none")
	put("pointer_size", strconv.Itoa(strconv.IntSize))
	user, system := processTimes()
	put("rusage_user", seconds(user))
	put("rusage_system", seconds(system))
	put.num("max_connections", uint64(s.options.MaxConnections))
	put.num("curr_connections", uint64(port.open.Value()))
	put.num("total_connections", port.total.Value())
	put.num("rejected_connections", s.numbers.rejected.Value())
	put.num("connection_structures", uint64(port.open.Value()))
	for i := range plainStat(numPlainStats) {
		put.num(i.String(), s.plain[i].Load())
	}
	for _, name := range [...]string{"get_expired", "get_flushed"} {
		put.num(name, 0) // counted as misses
	}
	put.num("bytes_read", port.in.Value())
	put.num("bytes_written", port.out.Value())
	put.num("limit_maxbytes", uint64(c.quota()))
	put.num("accepting_conns", 1)
	put.num("listen_disabled_num", 0)
	put.num("threads", uint64(runtime.GOMAXPROCS(0)))
	put.num("conn_yields", 0)
	put.num("hash_power_level", 0)
	put.num("hash_bytes", uint64(st.Memory.Tables))
	put.num("hash_is_expanding", 0)
	put.num("bytes", uint64(st.Memory.Items))
	put.num("curr_items", st.Items)
	put.num("total_items", st.Ops.Sets)
	put.num("evictions", st.Ops.Evicted)
	put.num("reclaimed", st.Ops.Expired)
	for _, name := range [...]string{
		"slab_global_page_pool", "expired_unfetched", "evicted_unfetched", "evicted_active", "crawler_reclaimed",
		"crawler_items_checked", "lrutail_reflocked",
	} {
		put.num(name, 0)
	}
}

// quota of the port's bucket, 0 while there is none.
func (c *conn) quota() int64 {
	if c.session.bucket == nil {
		return 0
	}
	return c.session.bucket.Spec().QuotaBytes
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', 6, 64)
}

// plainSettings puts the settings that memcached has and whose value is known.
func (c *conn) plainSettings(put putStat) {
	s := c.server
	host, port, _ := net.SplitHostPort(s.options.MemcachedAddr)
	if a, ok := s.MemcachedAddr().(*net.TCPAddr); ok {
		port = strconv.Itoa(a.Port)
	}
	onOff := func(on bool) string {
		if on {
			return "on"
		}
		return "off"
	}
	put.num("maxbytes", uint64(c.quota()))
	put.num("maxconns", uint64(s.options.MaxConnections))
	put("tcpport", port)
	put("udpport", "0")
	put("inter", host)
	put("verbosity", "0")
	put("oldest", "0")
	put("evictions", onOff(true))
	put("domain_socket", "NULL")
	put("umask", "700")
	put("growth_factor", "1.125")
	put.num("chunk_size", itemOverhead)
	put("num_threads", strconv.Itoa(runtime.GOMAXPROCS(0)))
	put("num_threads_per_udp", "0")
	put("stat_key_prefix", ":")
	put("detail_enabled", "no")
	put.num("reqs_per_event", maxBatch)
	put("cas_enabled", "yes")
	put("tcp_backlog", "1024")
	put("binding_protocol", "auto-negotiate")
	put("auth_enabled_sasl", yesIf(s.options.MemcachedAuth == MemcachedSASL))
	put("auth_enabled_ascii", yesIf(s.options.MemcachedAuth == MemcachedASCII))
	put.num("item_size_max", uint64(s.options.MemcachedItemSize))
	put("maxconns_fast", "yes")
	put("flush_enabled", yesIf(s.options.Flush != nil && c.session.bucket != nil && c.session.bucket.Spec().FlushEnabled))
	put("dump_enabled", "yes")
	put("bucket", s.options.MemcachedBucket)
}

// plainItems puts the items as if they were memcached's only class.
func (c *conn) plainItems(put putStat) {
	st := c.bucketStats()
	if st.Items == 0 {
		return
	}
	put.num("items:1:number", st.Items)
	put.num("items:1:age", 0)
	put.num("items:1:mem_requested", uint64(st.Memory.Items))
	put.num("items:1:evicted", st.Ops.Evicted)
	for _, name := range [...]string{"evicted_nonzero", "evicted_time", "outofmemory", "tailrepairs"} {
		put.num("items:1:"+name, 0)
	}
	put.num("items:1:reclaimed", st.Ops.Expired)
}

// plainSlabs puts the memory as if it were memcached's only class.
func (c *conn) plainSlabs(put putStat) {
	st := c.bucketStats()
	if st.Items > 0 {
		put.num("1:chunk_size", uint64(st.Memory.Items)/st.Items)
		put.num("1:chunks_per_page", 1)
		put.num("1:total_pages", 1)
		put.num("1:total_chunks", st.Items)
		put.num("1:used_chunks", st.Items)
		put.num("1:free_chunks", 0)
		put.num("1:mem_requested", uint64(st.Memory.Items))
		for _, kind := range []struct {
			name string
			stat plainStat
		}{
			{"get_hits", statGetHit},
			{"cmd_set", statSet},
			{"delete_hits", statDeleteHit},
			{"incr_hits", statIncrHit},
			{"decr_hits", statDecrHit},
			{"cas_hits", statCASHit},
			{"cas_badval", statCASBad},
			{"touch_hits", statTouchHit},
		} {
			put.num("1:"+kind.name, c.server.plain[kind.stat].Load())
		}
	}
	put.num("active_slabs", min(st.Items, 1))
	put.num("total_malloced", uint64(st.Memory.Held()))
}

// plainConnections puts the open connections of the port.
func (c *conn) plainConnections(put putStat) {
	listens := ""
	if a := c.server.MemcachedAddr(); a != nil {
		listens = "tcp:" + a.String()
	}
	for _, other := range c.server.connections() {
		if other.face == nil {
			continue
		}
		prefix := strconv.FormatUint(other.id, 10)
		state := "conn_read"
		if other == c {
			state = "conn_parse_cmd"
		}
		put(prefix+":addr", "tcp:"+other.remote())
		put(prefix+":listen_addr", listens)
		put(prefix+":state", state)
		put(prefix+":secs_since_last_cmd", "0")
	}
}
