package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Origin says where a value came from.
type Origin string

// The origins, the strongest first.
const (
	FromFlag    Origin = "flag"
	FromEnv     Origin = "environment"
	FromFile    Origin = "file"
	FromDefault Origin = "default"
)

// Setting describes one setting.
type Setting struct {
	Name    string // of the flag; the variable is CHARPOY_ and the name in capitals, the file's key has underscores
	Help    string
	Default string
	Secret  bool // never printed
	Flag    bool // can be given as a flag; secrets cannot, since arguments are visible to other users
	set     func(*Settings, string) error
}

// Env is the name of the setting's environment variable.
func (s *Setting) Env() string {
	return "CHARPOY_" + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// Key is the name of the setting in a file.
func (s *Setting) Key() string { return strings.ReplaceAll(s.Name, "-", "_") }

// All lists the settings in the order of their documentation.
func All() []Setting {
	return []Setting{
		text("data", "", "directory for documents and cluster state; made if it is missing", func(s *Settings) *string { return &s.Data }),
		text("bind", "127.0.0.1", "address that all ports are bound to; other than loopback demands CHARPOY_PASSWORD", func(s *Settings) *string { return &s.Bind }),
		port("kv-port", "11210", "key-value port, 0 = any free one", func(s *Settings) *int { return &s.KVPort }),
		port("kv-tls-port", "11207", "key-value port with TLS, 0 = any free one, off = none", func(s *Settings) *int { return &s.KVTLSPort }),
		port("http-port", "8091", "management port, 0 = any free one", func(s *Settings) *int { return &s.HTTPPort }),
		port("http-tls-port", "18091", "management port with TLS, 0 = any free one, off = none", func(s *Settings) *int { return &s.HTTPTLSPort }),
		port("views-port", "8092", "views port, 0 = any free one, off = none", func(s *Settings) *int { return &s.ViewsPort }),
		port("memcached-port", "11211", "port for plain memcached clients, 0 = any free one, off = none", func(s *Settings) *int { return &s.MemcachedPort }),
		text("memcached-bucket", "default", "bucket that the memcached port serves; - = no port", func(s *Settings) *string { return &s.MemcachedBucket }),
		{Name: "memcached-auth", Flag: true, Help: "login on the memcached port: none (loopback only), sasl (classic binary), ascii (text); empty = none on loopback, elsewhere no port", set: func(s *Settings, v string) error {
			s.MemcachedAuth = v
			return oneOf(v, "none", "sasl", "ascii")
		}},
		{Name: "memcached-item-size", Flag: true, Help: "largest value that memcached clients may store, up to 20MiB", Default: "1MiB", set: func(s *Settings, v string) (err error) {
			s.MemcachedItemSize, err = parseSize(v)
			if err == nil && (s.MemcachedItemSize < 1 || s.MemcachedItemSize > maxItemSize) {
				return fmt.Errorf("%s is not between 1 byte and 20MiB", v)
			}
			return err
		}},
		text("advertise", "", "host name given to clients; empty = the one that they dialled", func(s *Settings) *string { return &s.Advertise }),
		{Name: "password", Secret: true, Help: "password of Administrator, at the first boot", set: func(s *Settings, v string) error {
			if len(v) < 6 {
				return fmt.Errorf("it must have at least 6 characters")
			}
			s.Password = v
			return nil
		}},
		{Name: "buckets", Flag: true, Help: "buckets to make at the first boot, name[:quota][:ephemeral], comma separated", Default: "default", set: func(s *Settings, v string) (err error) {
			s.Buckets, err = bucketsFrom(v)
			return err
		}},
		text("tls-cert", "", "certificate file in PEM form; empty = made by the node", func(s *Settings) *string { return &s.TLSCert }),
		text("tls-key", "", "key file in PEM form", func(s *Settings) *string { return &s.TLSKey }),
		{Name: "disk-reserve", Flag: true, Help: "free disk space below which new writes are refused; 0 = 2 % of the disk, at most 1 GiB", Default: "0", set: func(s *Settings, v string) (err error) {
			s.DiskReserve, err = parseSize(v)
			return err
		}},
		{Name: "sasl-plain", Flag: true, Help: "where the mechanism PLAIN is offered: always, tls-only (locks released SDKs out of plain ports)", Default: "always", set: func(s *Settings, v string) error {
			s.PlainTLSOnly = v == "tls-only"
			return oneOf(v, "always", "tls-only")
		}},
		{Name: "log-level", Flag: true, Help: "debug, info, warn or error", Default: "info", set: func(s *Settings, v string) error {
			s.LogLevel = v
			return oneOf(v, "debug", "info", "warn", "error")
		}},
		{Name: "log-format", Flag: true, Help: "text or json", Default: "text", set: func(s *Settings, v string) error {
			s.LogJSON = v == "json"
			return oneOf(v, "text", "json")
		}},
		text("ready-json", "", "file that gets the line of ports and addresses when the node is ready", func(s *Settings) *string { return &s.ReadyJSON }),
	}
}

// maxItemSize is the largest value that any document can have, in bytes.
const maxItemSize = 20 << 20

func text(name, value, help string, field func(*Settings) *string) Setting {
	return Setting{Name: name, Flag: true, Help: help, Default: value, set: func(s *Settings, v string) error {
		*field(s) = v
		return nil
	}}
}

func port(name, value, help string, field func(*Settings) *int) Setting {
	return Setting{Name: name, Flag: true, Help: help, Default: value, set: func(s *Settings, v string) error {
		if v == "off" {
			*field(s) = Off
			return nil
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > 65535 {
			return fmt.Errorf("%q is no port (0 to 65535, or off)", v)
		}
		*field(s) = n
		return nil
	}}
}

func oneOf(v string, allowed ...string) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	return fmt.Errorf("%q is none of %s", v, strings.Join(allowed, ", "))
}

// parseSize reads a number of bytes with an optional binary unit: 512, 64KiB, 256MiB, 1GiB (also K, M, G, KB, MB, GB).
func parseSize(v string) (int64, error) {
	number := strings.TrimRight(v, "KMGTiBkb")
	unit := strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(v[len(number):], "B"), "i"))
	n, err := strconv.ParseInt(number, 10, 64)
	shift, known := map[string]int{"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[unit]
	if err != nil || !known || n < 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is no size: give a number with KiB, MiB or GiB", v)
	}
	return n << shift, nil
}
