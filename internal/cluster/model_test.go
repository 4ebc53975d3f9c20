package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/run"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// machine is a cluster over a disk that may crash, beside what it should hold.
type machine struct {
	files disk.Memory
	c     *Cluster
	data  *fakeData
	group *run.Group
	kv    int // the port that the node has

	buckets map[string]int64  // name to quota
	users   map[string]string // id to display name
	name    string
	seen    map[int64]*vbucket.Assignment // all that was ever published, by revision
	rev     int64
}

func (m *machine) start(t *rapid.T) {
	s, err := store.OpenSolo(m.files, "data")
	if err != nil {
		t.Fatal(err)
	}
	m.c, m.data = New(s, Options{}), &fakeData{}
	m.c.Subscribe(func(s *State) { m.note(t, s.Assignment) })
	boot := Boot{Self: vbucket.Node{Data: true, Ports: map[string]int{"kv": m.kv, "mgmt": 1}}}
	if _, err := m.c.Bootstrap(t.Context(), boot); err != nil {
		t.Fatal(err)
	}
	m.group = run.NewGroup(context.Background())
	m.group.Go("cluster", m.c.Run)
	m.group.Go("data", func(ctx context.Context) error { return m.data.run(ctx, m.c) })
}

// note holds what is published against what was published before: revisions rise, and each has one content.
func (m *machine) note(t *rapid.T, a *vbucket.Assignment) {
	if a.Rev < m.rev {
		t.Errorf("revision %d after %d", a.Rev, m.rev)
	}
	if old := m.seen[a.Rev]; old != nil {
		if diff := cmp.Diff(old, a); diff != "" {
			t.Errorf("revision %d has two contents (-first +second):\n%s", a.Rev, diff)
		}
	}
	m.rev, m.seen[a.Rev] = a.Rev, a
}

func (m *machine) stop(t *rapid.T) {
	m.group.Stop()
	if err := m.group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// check compares all that can be seen with what should be there.
func (m *machine) check(t *rapid.T) {
	s := m.c.State()
	buckets, users := map[string]int64{}, map[string]string{}
	for _, b := range s.Buckets {
		if !b.Dropping {
			buckets[b.Spec.Name] = b.Spec.QuotaBytes
		}
	}
	for _, u := range s.Users {
		users[u.ID] = u.Name
	}
	if diff := cmp.Diff(m.buckets, buckets) + cmp.Diff(m.users, users) + cmp.Diff(m.name, s.Name); diff != "" {
		t.Fatalf("state (-want +got):\n%s", diff)
	}
	if len(s.Assignment.Buckets) != len(buckets) || s.Nodes[s.Self].Ports["kv"] != m.kv {
		t.Fatalf("assignment: %+v", s.Assignment)
	}
}

func (m *machine) bucket(t *rapid.T) string {
	return fmt.Sprintf("b%d", rapid.IntRange(0, 3).Draw(t, "bucket"))
}

// expect says whether an operation should have worked.
func expect(t *rapid.T, err, want error) {
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func (m *machine) actions(ctx context.Context) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"create": func(t *rapid.T) {
			name, quota := m.bucket(t), rapid.Int64Range(1, 9).Draw(t, "quota")*mib
			err := m.c.CreateBucket(ctx, spec.Bucket{Name: name, QuotaBytes: quota, NumVBuckets: 2})
			if _, ok := m.buckets[name]; ok {
				expect(t, err, ErrBucketExists)
				return
			}
			expect(t, err, nil)
			m.buckets[name] = quota
		},
		"drop": func(t *rapid.T) {
			name := m.bucket(t)
			_, ok := m.buckets[name]
			expect(t, m.c.DropBucket(ctx, name), map[bool]error{false: ErrNoBucket}[ok])
			delete(m.buckets, name)
		},
		"change": func(t *rapid.T) {
			name, quota := m.bucket(t), rapid.Int64Range(1, 9).Draw(t, "quota")*mib
			_, ok := m.buckets[name]
			err := m.c.UpdateBucket(ctx, name, func(b *spec.Bucket) error { b.QuotaBytes = quota; return nil })
			expect(t, err, map[bool]error{false: ErrNoBucket}[ok])
			if ok {
				m.buckets[name] = quota
			}
		},
		"user": func(t *rapid.T) {
			id, name := m.bucket(t), rapid.StringN(0, 3, 3).Draw(t, "name")
			expect(t, m.c.PutUser(ctx, spec.User{Domain: spec.DomainExternal, ID: id, Name: name}), nil)
			m.users[id] = name
		},
		"delete user": func(t *rapid.T) {
			id := m.bucket(t)
			_, ok := m.users[id]
			expect(t, m.c.DeleteUser(ctx, spec.DomainExternal, id), map[bool]error{false: ErrNoUser}[ok])
			delete(m.users, id)
		},
		"name": func(t *rapid.T) {
			m.name = rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "cluster name")
			expect(t, m.c.SetClusterName(ctx, m.name), nil)
		},
		"restart": func(t *rapid.T) {
			m.stop(t)
			m.kv = rapid.IntRange(1, 2).Draw(t, "port")
			m.start(t)
		},
		"crash": func(t *rapid.T) {
			crashed := m.files.Crash(rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "percent"), rapid.Uint64().Draw(t, "seed"))
			m.stop(t)
			m.files = crashed
			m.start(t)
		},
		"": m.check,
	}
}

// Random operations, restarts and crashes against a simple model: nothing acknowledged is lost, revisions rise, and no
// revision ever has two contents.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{files: disk.NewMemory(), kv: 1, buckets: map[string]int64{}, users: map[string]string{}, seen: map[int64]*vbucket.Assignment{}}
		if err := m.files.MkdirAll("data", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := disk.SyncDir(m.files, ""); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		m.start(t)
		defer func() { m.stop(t) }()
		t.Repeat(m.actions(ctx))
	})
}
