package storage

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/cockroachdb/pebble/v2"
)

// heard collects records as text. Sinks run on the goroutines that fire.
type heard struct {
	sync.Mutex
	all []string
}

func (h *heard) add(r *trace.Record) {
	h.Lock()
	defer h.Unlock()
	h.all = append(h.all, fmt.Sprintf("%s file=%s call=%s errno=%d status=%s bytes>0:%v dur>0:%v", r.Probe, r.Text("file", nil),
		r.Text("call", nil), r.Value("errno"), r.Text("status", nil), r.Value("bytes") > 0, r.Value("dur") > 0))
}

func (h *heard) has(line string) bool {
	h.Lock()
	defer h.Unlock()
	return slices.Contains(h.all, line)
}

// Writes and syncs of the log are told apart, an error of the disk comes with the call and the system's number, and all of it
// is counted by kind of file.
func TestDiskIsObserved(t *testing.T) {
	if !trace.Enabled {
		t.Skip("probes are compiled out")
	}
	node, told := trace.NewNode(), &heard{}
	defer node.Subscribe(told.add, trace.WriteDone, trace.FsyncDone, trace.StoreError)()
	fs := disk.NewHooked(disk.NewMemory())
	db, err := Open(Options{Dir: "data", FS: fs, Trace: node})
	must(t, err)
	defer db.Close()
	w := newWriter(bucketOf(t, db, "a"), 3)
	w.begin(t)
	must(t, w.apply(w.set("k", `"v"`)))
	must(t, db.Sync())
	for _, want := range []string{
		"write-done file=wal call= errno=0 status= bytes>0:true dur>0:true",
		"fsync-done file=wal call= errno=0 status=ok bytes>0:false dur>0:true",
		"fsync-done file=manifest call= errno=0 status=ok bytes>0:false dur>0:true",
	} {
		if !told.has(want) {
			t.Errorf("%q was not heard in %q", want, told.all)
		}
	}
	before := db.DiskStats()
	if f := before.Files[0]; f.Kind != "wal" || f.Sync.Count == 0 || f.Write.Count == 0 || f.WrittenBytes == 0 {
		t.Errorf("wal: %+v", f)
	}
	fs.Judge(func(op disk.Op) disk.Verdict {
		if op.Kind == disk.Sync {
			return disk.Verdict{Err: disk.ErrNoSpace}
		}
		return disk.Verdict{}
	})
	must(t, w.apply(w.set("k", `"w"`)))
	if err := db.Sync(); err == nil {
		t.Error("a sync that failed is reported as done")
	}
	want := fmt.Sprintf("store-error file=wal call=sync errno=%d status= bytes>0:false dur>0:false", disk.ErrNoSpace)
	if !told.has(want) || !told.has("fsync-done file=wal call= errno=0 status=failed bytes>0:false dur>0:true") {
		t.Errorf("%q was not heard in %q", want, told.all)
	}
	if n := db.DiskStats().Errors["ENOSPC"]; n == 0 {
		t.Error("the error was not counted")
	}
}

func TestKindsOfFiles(t *testing.T) {
	f := func(path string, want trace.File) {
		t.Helper()
		if got := fileOf(path); got != want {
			t.Errorf("%q is %v, want %v", path, got, want)
		}
	}
	f("data/000012.log", trace.FileWAL)
	f(`c:\data\000012.sst`, trace.FileTable)
	f("MANIFEST-000001", trace.FileManifest)
	f("data/marker.format-version.000001.013", trace.FileManifest)
	f("data/LOCK", trace.FileOther)
}

// Time in which the engine holds up writes is counted by reason.
func TestStallTime(t *testing.T) {
	node, stalls := trace.NewNode(), []string{}
	defer node.Subscribe(func(r *trace.Record) { stalls = append(stalls, r.Text("reason", nil)) }, trace.StoreStall)()
	db := open(t, disk.NewMemory())
	o, shard := &db.observed, node.Shard(0)
	o.stallBegins("memtable count limit reached")
	o.stallEnds(shard)
	o.stallEnds(shard) // twice is once
	o.stallBegins("L0 file count limit exceeded")
	o.stallEnds(shard)
	if trace.Enabled && !slices.Equal(stalls, []string{"memtables", "level0"}) {
		t.Errorf("told %q", stalls)
	}
	s := db.DiskStats().StallSeconds
	if s["memtables"] <= 0 || s["level0"] <= 0 || s["other"] != 0 {
		t.Errorf("stalls %v", s)
	}
}

// A compaction is told with what it has read and written.
func TestCompactionProbe(t *testing.T) {
	if !trace.Enabled {
		t.Skip("probes are compiled out")
	}
	node := trace.NewNode()
	var told []int64
	defer node.Subscribe(func(r *trace.Record) {
		told = append(told, r.Value("level"), r.Value("in"), r.Value("out"), r.Value("dur"))
	}, trace.CompactDone)()
	db, err := Open(Options{Dir: "data", FS: disk.NewMemory(), Trace: node})
	must(t, err)
	defer db.Close()
	table := func(size uint64) pebble.TableInfo { return pebble.TableInfo{Size: size} }
	db.compacted(&pebble.CompactionInfo{
		Input:         []pebble.LevelInfo{{Level: 0, Tables: []pebble.TableInfo{table(10), table(20)}}, {Level: 5, Tables: []pebble.TableInfo{table(30)}}},
		Output:        pebble.LevelInfo{Level: 5, Tables: []pebble.TableInfo{table(50)}},
		TotalDuration: time.Millisecond,
	})
	if !slices.Equal(told, []int64{5, 60, 50, int64(time.Millisecond)}) {
		t.Errorf("told %v", told)
	}
}
