// Package config reads the settings of one node: from flags, from the environment, from a file, and from defaults, in this
// order of precedence. Each value keeps its origin, so that `charpoy config` can say why it is what it is.
//
// A setting here needs a restart; whatever can change on a running node (buckets, users, quotas) is state of the cluster and
// not here. First-boot values (password, buckets) are applied when the cluster is made, and never again.
//
// settings.go has the one table of settings from which flags' help, variables, file keys and documentation come. Read it first.
package config

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/charpoy/charpoy/internal/spec"
)

// Ports are the ports that a node has bound, 0 where a service is switched off. The JSON names are those of the line that
// `charpoy test-server --print-json` prints.
type Ports struct {
	KV        int `json:"kv"`
	KVTLS     int `json:"kv_tls"`
	Mgmt      int `json:"mgmt"`
	MgmtTLS   int `json:"mgmt_tls"`
	Views     int `json:"views"`
	Memcached int `json:"memcached"`
}

// AdminUser is the name of the administrator that a new cluster has.
const AdminUser = "Administrator"

// Off as a port switches a service off.
const Off = -1

// FirstBucket is a bucket to be made at the first boot.
type FirstBucket struct {
	Name       string
	QuotaBytes int64 // 0 = the default
	Ephemeral  bool
}

// Settings of a node.
type Settings struct {
	Data            string // directory; empty = everything in memory
	Bind            string // address or host name that all ports are bound to
	KVPort          int
	KVTLSPort       int
	HTTPPort        int
	HTTPTLSPort     int
	ViewsPort       int
	MemcachedPort   int
	MemcachedGiven  bool   // somebody chose MemcachedPort; otherwise a node whose default port is taken goes on without
	MemcachedBucket string // that the memcached port serves
	MemcachedAuth   string // none, sasl, ascii

	// MemcachedItemSize bounds the values that memcached clients store, in bytes.
	MemcachedItemSize int64

	Advertise       string // host name given to clients; empty = the one that they dialled
	Password        string // of AdminUser at the first boot; empty = made up
	Buckets         []FirstBucket
	TLSCert, TLSKey string
	DiskReserve     int64 // bytes kept free; 0 = min(1 GiB, 2 % of the disk)
	PlainTLSOnly    bool
	LogLevel        string
	LogJSON         bool
	ReadyJSON       string // file that the ready line is written to
}

// Loopback reports whether only programs on this machine can reach the node.
func (s *Settings) Loopback() bool {
	if s.Bind == "localhost" {
		return true
	}
	ip := net.ParseIP(s.Bind)
	return ip != nil && ip.IsLoopback()
}

// Error is what is wrong with one setting.
type Error struct {
	Name   string // of the flag, without dashes
	Origin Origin
	Text   string
	Hint   string // what to do, may be empty
}

// Error says which setting is wrong, where it came from and why.
func (e *Error) Error() string {
	s := fmt.Sprintf("setting %s (%s): %s", e.Name, e.Origin, e.Text)
	if e.Hint != "" {
		s += ". " + e.Hint
	}
	return s
}

// validate checks what concerns several settings at once.
func (s *Settings) validate(container bool, origins map[string]Origin) error {
	if s.Bind != "localhost" && net.ParseIP(s.Bind) == nil && strings.ContainsAny(s.Bind, ":/ ") {
		return &Error{"bind", origins["bind"], fmt.Sprintf("%q is neither an address nor a host name", s.Bind), ""}
	}
	if !s.Loopback() && s.Password == "" && s.needsPassword() {
		hint := "Set CHARPOY_PASSWORD (or CHARPOY_PASSWORD_FILE), or bind to 127.0.0.1"
		if container {
			hint = "Run the container with -e CHARPOY_PASSWORD=…"
		}
		return &Error{"bind", origins["bind"], "other machines could reach this node, and nobody has chosen its password", hint}
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		return &Error{"tls-cert", origins["tls-cert"], "--tls-cert and --tls-key go together", ""}
	}
	if err := s.validateMemcached(origins); err != nil {
		return err
	}
	taken := map[int]string{}
	for _, p := range []struct {
		name string
		port int
	}{
		{"kv-port", s.KVPort},
		{"kv-tls-port", s.KVTLSPort},
		{"http-port", s.HTTPPort},
		{"http-tls-port", s.HTTPTLSPort},
		{"views-port", s.ViewsPort},
		{"memcached-port", s.MemcachedPort},
	} {
		if other, twice := taken[p.port]; twice && p.port > 0 {
			return &Error{p.name, origins[p.name], fmt.Sprintf("port %d is also that of --%s", p.port, other), ""}
		}
		taken[p.port] = p.name
	}
	if s.KVPort == Off || s.HTTPPort == Off {
		return &Error{"kv-port", origins["kv-port"], "the KV port and the HTTP port cannot be switched off", ""}
	}
	return nil
}

// validateMemcached decides whether there is a port for plain memcached clients. Where other machines reach it there must be
// a login; a port that nobody has asked for is left out instead.
func (s *Settings) validateMemcached(origins map[string]Origin) error {
	s.MemcachedGiven = origins["memcached-port"] != FromDefault
	switch s.MemcachedBucket {
	case "-":
		s.MemcachedPort = Off
	case "":
		s.MemcachedBucket = "default"
	}
	probe := spec.Bucket{Name: s.MemcachedBucket, QuotaBytes: spec.MinQuotaBytes}
	switch {
	case s.MemcachedPort == Off:
		return nil
	case probe.WithDefaults().Validate() != nil:
		return &Error{"memcached-bucket", origins["memcached-bucket"], fmt.Sprintf("%q cannot be the name of a bucket", s.MemcachedBucket), ""}
	case s.Loopback() && s.MemcachedAuth == "":
		s.MemcachedAuth = "none"
	case s.Loopback() || s.MemcachedAuth == "sasl" || s.MemcachedAuth == "ascii":
	case s.MemcachedAuth == "" && !s.MemcachedGiven:
		s.MemcachedPort = Off
	default:
		return &Error{
			"memcached-auth", origins["memcached-auth"],
			fmt.Sprintf("other machines could read and change every document of bucket %q on the memcached port without a login", s.MemcachedBucket),
			"Set it to sasl (classic binary clients) or ascii (text clients), bind to 127.0.0.1, or set --memcached-port off",
		}
	}
	return nil
}

// stateFile is the file by which the cluster store knows a directory that was set up (docs/formats/cluster-state.md).
const stateFile = "cluster.state"

// needsPassword reports whether the first boot, which makes up a password that nobody gives, is still to come. Only the
// cluster's state tells: a fresh volume need not be empty, it can have a lost+found or files of its owner.
func (s *Settings) needsPassword() bool {
	if s.Data == "" {
		return true
	}
	_, err := os.Stat(filepath.Join(s.Data, stateFile))
	return err != nil
}

// bucketsFrom reads "shop:256MiB,cache:64MiB:ephemeral".
func bucketsFrom(text string) ([]FirstBucket, error) {
	var list []FirstBucket
	for part := range strings.SplitSeq(text, ",") {
		fields := strings.Split(strings.TrimSpace(part), ":")
		b := FirstBucket{Name: fields[0]}
		for _, f := range fields[1:] {
			if f == "ephemeral" {
				b.Ephemeral = true
				continue
			}
			n, err := parseSize(f)
			if err != nil {
				return nil, err
			}
			b.QuotaBytes = n
		}
		probe := spec.Bucket{Name: b.Name, QuotaBytes: max(b.QuotaBytes, spec.MinQuotaBytes)}
		if b.QuotaBytes != 0 {
			probe.QuotaBytes = b.QuotaBytes
		}
		if err := probe.WithDefaults().Validate(); err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}
