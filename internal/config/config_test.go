package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/config"
)

func env(pairs map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := pairs[name]; return v, ok }
}

func origin(values []config.Value, name string) (string, config.Origin) {
	for _, v := range values {
		if v.Name == name {
			return v.Value, v.Origin
		}
	}
	return "", ""
}

// TestPrecedence gives one setting in every source and takes sources away from the strongest on.
func TestPrecedence(t *testing.T) {
	src := config.Sources{
		Flags: map[string]string{"kv-port": "1"},
		Env:   env(map[string]string{"CHARPOY_KV_PORT": "2"}),
		File:  []byte("kv_port: 3\n"),
	}
	for i, c := range []struct {
		drop func()
		want int
		from config.Origin
	}{
		{func() {}, 1, config.FromFlag},
		{func() { src.Flags = nil }, 2, config.FromEnv},
		{func() { src.Env = nil }, 3, config.FromFile},
		{func() { src.File = nil }, 11210, config.FromDefault},
	} {
		c.drop()
		s, values, err := config.Resolve(src)
		if err != nil {
			t.Fatal(err)
		}
		if _, from := origin(values, "kv-port"); s.KVPort != c.want || from != c.from {
			t.Errorf("step %d: port %d from %s, want %d from %s", i, s.KVPort, from, c.want, c.from)
		}
	}
}

func TestSecretIsHidden(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, pairs := range []map[string]string{
		{"CHARPOY_PASSWORD": "from the file"}, {"CHARPOY_PASSWORD_FILE": file},
	} {
		s, values, err := config.Resolve(config.Sources{Env: env(pairs), Flags: map[string]string{"password": "on the line"}})
		if err != nil {
			t.Fatal(err)
		}
		if shown, _ := origin(values, "password"); s.Password != "from the file" || shown != "(hidden)" {
			t.Errorf("%v: password %q shown as %q", pairs, s.Password, shown)
		}
	}
}

// TestRefuses lists settings that cannot be used, with a part of what a person is told.
func TestRefuses(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"kv-port", "70000", "no port"},
		{"kv-port", "off", "cannot be switched off"},
		{"http-port", "11210", "also that of --kv-port"},
		{"bind", "0.0.0.0", "CHARPOY_PASSWORD"},
		{"bind", "a b", "neither an address nor a host name"},
		{"log-level", "loud", "none of debug"},
		{"disk-reserve", "1Zb", "no size"},
		{"buckets", "a b", "Bucket name"},
		{"buckets", "a:10XB", "no size"},
		{"tls-cert", "x.pem", "go together"},
		{"sasl-plain", "never", "none of always"},
		{"memcached-port", "11210", "also that of --kv-port"},
		{"memcached-auth", "tls", "none of none"},
		{"memcached-bucket", "a b", "cannot be the name"},
		{"memcached-item-size", "21MiB", "not between"},
		{"memcached-item-size", "0", "not between"},
	} {
		_, _, err := config.Resolve(config.Sources{Flags: map[string]string{c.name: c.value}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("--%s %s: %v, want something with %q", c.name, c.value, err, c.want)
		}
		var e *config.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("--%s %s: %T is no *config.Error", c.name, c.value, err)
		}
	}
	for _, file := range []string{"unknown: 1", "kv_port: [1]", "a: b: c", "- list"} {
		if _, _, err := config.Resolve(config.Sources{File: []byte(file)}); err == nil || !strings.HasPrefix(err.Error(), "settings file") {
			t.Errorf("file %q: %v", file, err)
		}
	}
}

// TestBindNeedsPasswordAtFirst: until the cluster's state is there, only a password that a person has chosen opens the node
// to other machines. A directory that was set up has one already. Other files in the directory, as fresh volumes have them,
// prove nothing.
func TestBindNeedsPasswordAtFirst(t *testing.T) {
	dir := t.TempDir()
	flags := map[string]string{"bind": "0.0.0.0", "data": dir}
	for _, name := range []string{"", "lost+found", "docs", "cluster.state.new"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); name != "" && err != nil {
			t.Fatal(err)
		}
		var e *config.Error
		if _, _, err := config.Resolve(config.Sources{Flags: flags}); !errors.As(err, &e) || e.Name != "bind" {
			t.Errorf("after %q: %v, want an error of bind", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, store.StateFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _, err := config.Resolve(config.Sources{Flags: flags})
	if err != nil || s.Loopback() {
		t.Errorf("a directory that was set up: loopback %v, %v", s != nil && s.Loopback(), err)
	}
}

func TestBuckets(t *testing.T) {
	s, _, err := config.Resolve(config.Sources{Env: env(map[string]string{"CHARPOY_BUCKETS": "shop:256MiB, cache:64M:ephemeral,plain"})})
	if err != nil {
		t.Fatal(err)
	}
	want := []config.FirstBucket{{"shop", 256 << 20, false}, {"cache", 64 << 20, true}, {"plain", 0, false}}
	if len(s.Buckets) != 3 || s.Buckets[0] != want[0] || s.Buckets[1] != want[1] || s.Buckets[2] != want[2] {
		t.Errorf("got %+v, want %+v", s.Buckets, want)
	}
}

// FuzzFile: no settings file makes Resolve panic, and what it accepts is within the bounds of the settings.
func FuzzFile(f *testing.F) {
	f.Add([]byte("kv_port: 1\nbind: 127.0.0.1\n"))
	f.Add([]byte("buckets: shop:1MiB\ndisk_reserve: 9G\nlog_level: debug"))
	f.Add([]byte("? [a]\n: &x *x\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, _, err := config.Resolve(config.Sources{File: file})
		if err == nil && (s.KVPort < 0 || s.KVPort > 65535 || s.DiskReserve < 0) {
			t.Errorf("accepted %+v", s)
		}
	})
}

// TestMemcachedNeedsLogin: where other machines reach the memcached port there is a login, or no port if nobody has asked for
// one.
func TestMemcachedNeedsLogin(t *testing.T) {
	for _, c := range []struct {
		flags string
		port  int
		auth  string
		want  string // part of the error
	}{
		{"", 11211, "none", ""},
		{"bind=localhost memcached-port=0", 0, "none", ""},
		{"memcached-auth=ascii", 11211, "ascii", ""},
		{"memcached-bucket=-", config.Off, "", ""},
		{"memcached-port=off memcached-auth=none bind=0.0.0.0", config.Off, "none", ""},
		{"bind=0.0.0.0", config.Off, "", ""},
		{"bind=0.0.0.0 memcached-auth=sasl", 11211, "sasl", ""},
		{"bind=0.0.0.0 memcached-port=11211", 0, "", "without a login"},
		{"bind=::1 memcached-auth=none", 11211, "none", ""},
		{"bind=10.0.0.1 memcached-auth=none", 0, "", "without a login"},
	} {
		flags := map[string]string{}
		for f := range strings.FieldsSeq(c.flags) {
			name, value, _ := strings.Cut(f, "=")
			flags[name] = value
		}
		s, _, err := config.Resolve(config.Sources{Flags: flags, Env: env(map[string]string{"CHARPOY_PASSWORD": "password"})})
		switch {
		case c.want != "":
			var e *config.Error
			if !errors.As(err, &e) || e.Hint == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want something with %q and a hint", c.flags, err, c.want)
			}
		case err != nil:
			t.Errorf("%s: %v", c.flags, err)
		case s.MemcachedPort != c.port || s.MemcachedAuth != c.auth || s.MemcachedItemSize != 1<<20:
			t.Errorf("%s: port %d, auth %q, items of %d; want port %d, auth %q", c.flags, s.MemcachedPort, s.MemcachedAuth,
				s.MemcachedItemSize, c.port, c.auth)
		}
	}
}
