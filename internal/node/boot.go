package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/cluster"
	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// openData opens the data plane over its directory, or in memory.
func (n *Node) openData(context.Context) (err error) {
	o := data.Options{
		FS: n.fs, ReserveBytes: uint64(n.settings.DiskReserve), Fatal: n.fail, Clock: n.options.Clock, Logger: n.options.Logger,
		Trace: n.observation.trace,
	}
	if n.settings.Data != "" {
		o.Dir = n.fs.PathJoin(n.settings.Data, "docs")
	}
	if n.data, err = data.Open(o); err != nil {
		return err
	}
	n.closeLater(n.data)
	return nil
}

// fail notes that the disk has failed; Run ends with the first such error.
func (n *Node) fail(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// openCluster opens the cluster plane: on one file beside the documents, or in memory.
func (n *Node) openCluster(context.Context) error {
	kept := store.NewMemory()
	if n.settings.Data != "" {
		var err error
		if kept, err = store.OpenSoloTraced(n.fs, n.settings.Data, n.observation.trace); err != nil {
			return err
		}
	}
	n.cluster = cluster.New(kept, cluster.Options{Logger: n.options.Logger})
	n.kvAuth = auth.NewDirectory(auth.Options{Logger: n.options.Logger})
	n.mgmtAuth = auth.NewDirectory(auth.Options{Logger: n.options.Logger})
	return nil
}

// bootstrap tells the cluster plane what this node is, and fills an empty store with what the settings say.
func (n *Node) bootstrap(ctx context.Context) error {
	boot := cluster.Boot{Self: n.self(), ClusterName: "charpoy"}
	was, err := n.cluster.Bootstrapped(ctx)
	if err != nil {
		return err
	}
	if !was {
		if err := n.firstBoot(&boot); err != nil {
			return err
		}
	}
	if n.fresh, err = n.cluster.Bootstrap(ctx, boot); err != nil {
		return err
	}
	n.learnManagers(n.cluster.State())
	return n.data.Claim(n.cluster.State().UUID)
}

func (n *Node) firstBoot(boot *cluster.Boot) error {
	n.password = n.settings.Password
	if n.password == "" {
		if !n.settings.Loopback() { // package config says so first, with what to do; this is the last gate
			return errors.New("other machines could reach this node, and nobody has chosen its password")
		}
		n.password, n.made = madePassword(), true
	}
	cost := auth.DefaultCost()
	if n.options.ShortLived {
		cost = auth.CheapCost()
	}
	credentials, err := auth.NewCredentialsAt(n.password, cost)
	if err != nil {
		return err
	}
	boot.Users = []spec.User{{
		Domain: spec.DomainAdmin, ID: config.AdminUser, Name: config.AdminUser,
		Roles: []spec.Role{{Name: "admin"}}, Credentials: credentials, PasswordChanged: time.Now().UTC(),
	}}
	for _, b := range n.settings.Buckets {
		s := spec.Bucket{Name: b.Name, QuotaBytes: b.QuotaBytes, FlushEnabled: n.settings.Data == "", NumVBuckets: n.options.VBuckets}
		if s.QuotaBytes == 0 {
			s.QuotaBytes = defaultQuota(len(n.settings.Buckets))
		}
		if b.Ephemeral || n.settings.Data == "" {
			s.Type = spec.Ephemeral
		}
		boot.Buckets = append(boot.Buckets, s.WithDefaults())
	}
	return nil
}

// self is this node as clients must see it. A node that only this machine can reach, or that listens on every address, gives
// no host name: clients use the address that they dialled (wire.md 5.2).
func (n *Node) self() vbucket.Node {
	p := n.Ports()
	ports := map[string]int{"kv": p.KV, "mgmt": p.Mgmt}
	for name, port := range map[string]int{"kvSSL": p.KVTLS, "mgmtSSL": p.MgmtTLS, "capi": p.Views} {
		if port != 0 {
			ports[name] = port
		}
	}
	return vbucket.Node{Hostname: n.settings.Advertise, Ports: ports, Data: true}
}

// learnUsers feeds the users that the data plane was handed to its faces.
func (n *Node) learnUsers(a *vbucket.Assignment) { n.kvAuth.Replace(a.Users, a.Groups) }

// learnManagers feeds the users of the cluster state to the management port.
func (n *Node) learnManagers(s *cluster.State) { n.mgmtAuth.Replace(s.Users, s.Groups) }

// Summary says in one line what this start found.
func (n *Node) Summary() string {
	state := n.cluster.State()
	names := make([]string, 0, len(state.Buckets))
	for i := range state.Buckets {
		names = append(names, state.Buckets[i].Spec.Name)
	}
	switch {
	case n.fresh && n.settings.Data == "":
		return "a new cluster in memory; bucket " + strings.Join(names, ", ")
	case n.fresh:
		return "a new cluster in " + n.settings.Data + "; bucket " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("the cluster %q in %s; buckets: %s", state.Name, n.settings.Data, strings.Join(names, ", "))
}
