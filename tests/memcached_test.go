package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/couchbase/gocb/v2"

	"github.com/charpoy/charpoy/tests/server"
)

// python is the system's interpreter: the client library comes as a package of the system.
const python = "/usr/bin/python3"

// TestMemcachedClients runs clients of plain memcached against servers with and without a disk: Go's gomemcache and Python's
// pymemcache speak text, memjs speaks binary. Each checks every answer itself, and reads what the others have written.
func TestMemcachedClients(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	binary, err := server.Build(ctx, "..", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	prepareMemjs(t, ctx)
	for _, kind := range []string{"memory", "disk"} {
		t.Run(kind, func(t *testing.T) {
			var args []string
			if kind == "disk" {
				args = []string{"--data", t.TempDir()}
			}
			s, err := server.StartTestServer(ctx, binary, args...)
			if err != nil {
				t.Fatal(err)
			}
			address := net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Memcached))
			goMemcache(t, address)
			runClient(t, ctx, "", "node", "client.js", address)
			runClient(t, ctx, "", python, "client.py", "127.0.0.1", strconv.Itoa(s.Memcached))
			for _, from := range []string{"go", "js", "py"} {
				item, err := memcache.New(address).Get("from-" + from)
				if err != nil || string(item.Value) != fmt.Sprintf(`{"from":%q}`, from) {
					t.Errorf("from-%s: %v, %v", from, item, err)
				}
			}
			readBySDK(t, s)
			if err := s.Stop(40 * time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMemcachedLogin: a binary client logs in by SASL, and only with the right password.
func TestMemcachedLogin(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	binary, err := server.Build(ctx, "..", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	prepareMemjs(t, ctx)
	s, err := server.StartServe(ctx, binary, "password", "--kv-port", "0", "--kv-tls-port", "0", "--http-port", "0",
		"--http-tls-port", "0", "--views-port", "0", "--memcached-port", "0", "--memcached-auth", "sasl")
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Memcached))
	runClient(t, ctx, "password", "node", "client.js", address, "--user", "Administrator")
	if out, err := clientCommand(ctx, "wrong password", "node", "client.js", address, "--user", "Administrator").CombinedOutput(); err == nil {
		t.Errorf("a wrong password was taken:\n%s", out)
	}
	if err := memcache.New(address).Set(&memcache.Item{Key: "k", Value: []byte("x")}); err == nil || !strings.Contains(err.Error(), "unauthenticated") {
		t.Errorf("a text client without a login: %v", err)
	}
	if err := s.Stop(40 * time.Second); err != nil {
		t.Error(err)
	}
}

// prepareMemjs installs the Node.js client.
func prepareMemjs(t *testing.T, ctx context.Context) {
	t.Helper()
	cmd := exec.CommandContext(ctx, "npm", "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = "memcached"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("install memjs: %v\n%s", err, out)
	}
}

// clientCommand is a program of the directory memcached.
func clientCommand(ctx context.Context, password, interpreter, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, interpreter, append([]string{filepath.Join("memcached", program)}, args...)...)
	cmd.Env = append(os.Environ(), "CHARPOY_PASSWORD="+password)
	return cmd
}

func runClient(t *testing.T, ctx context.Context, password, interpreter, program string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	cmd := clientCommand(ctx, password, interpreter, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v\n%s", program, err, out.String())
		return
	}
	t.Log(strings.TrimSpace(out.String()))
}

// goMemcache goes through the operations of gomemcache.
func goMemcache(t *testing.T, address string) {
	t.Helper()
	c := memcache.New(address)
	defer c.Close()
	c.Timeout = 10 * time.Second
	wants := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	item := func(key, value string) *memcache.Item {
		return &memcache.Item{Key: key, Value: []byte(value), Flags: 9, Expiration: 600}
	}
	read := func(key, want string) *memcache.Item {
		t.Helper()
		got, err := c.Get(key)
		if err != nil || string(got.Value) != want {
			t.Fatalf("%s: %v, %v, want %q", key, got, err, want)
		}
		return got
	}
	wants("ping", c.Ping(), nil)
	_, err := c.Get("go-none")
	wants("get", err, memcache.ErrCacheMiss)
	wants("set", c.Set(item("go-a", "abc")), nil)
	got := read("go-a", "abc")
	if got.Flags != 9 {
		t.Errorf("flags %d", got.Flags)
	}
	wants("add", c.Add(item("go-a", "x")), memcache.ErrNotStored)
	wants("replace", c.Replace(item("go-none", "x")), memcache.ErrNotStored)
	wants("append", c.Append(item("go-a", "def")), nil)
	wants("prepend", c.Prepend(item("go-a", "012")), nil)
	wants("cas of an old version", c.CompareAndSwap(got), memcache.ErrCASConflict)
	got = read("go-a", "012abcdef")
	got.Value = []byte("new")
	wants("cas", c.CompareAndSwap(got), nil)
	wants("touch", c.Touch("go-a", 300), nil)
	wants("touch", c.Touch("go-none", 300), memcache.ErrCacheMiss)
	if got, err := c.GetAndTouch("go-a", 100); err != nil || string(got.Value) != "new" {
		t.Errorf("gat: %v, %v", got, err)
	}
	_, err = c.Increment("go-n", 1)
	wants("incr", err, memcache.ErrCacheMiss)
	wants("set", c.Set(item("go-n", "7")), nil)
	if n, err := c.Increment("go-n", 5); err != nil || n != 12 {
		t.Errorf("incr: %d, %v", n, err)
	}
	if n, err := c.Decrement("go-n", 20); err != nil || n != 0 {
		t.Errorf("decr: %d, %v", n, err)
	}
	if _, err := c.Increment("go-a", 1); err == nil {
		t.Error("a word was counted")
	}
	var keys []string
	for i := range 500 {
		keys = append(keys, fmt.Sprintf("go-many-%d", i))
		wants("set", c.Set(item(keys[i], "value of "+keys[i])), nil)
	}
	found, err := c.GetMulti(append(keys, "go-none"))
	if err != nil || len(found) != len(keys) || string(found[keys[7]].Value) != "value of "+keys[7] {
		t.Errorf("get of many: %d, %v", len(found), err)
	}
	wants("delete", c.Delete("go-n"), nil)
	wants("delete", c.Delete("go-n"), memcache.ErrCacheMiss)
	if err := c.Set(item("go-big", strings.Repeat("z", 2<<20))); err == nil {
		t.Error("a value above the limit was stored")
	}
	wants("set", c.Set(item("from-go", `{"from":"go"}`)), nil)
}

// readBySDK reads with an SDK what the clients have written, and changes one document for them.
func readBySDK(t *testing.T, s *server.Process) {
	t.Helper()
	cluster, err := gocb.Connect(s.ConnectionString, gocb.ClusterOptions{Username: s.User, Password: s.Password})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close(nil)
	bucket := cluster.Bucket("default")
	if err := bucket.WaitUntilReady(20*time.Second, nil); err != nil {
		t.Fatal(err)
	}
	documents := bucket.DefaultCollection()
	raw := gocb.NewRawJSONTranscoder()
	for _, from := range []string{"go", "js", "py"} {
		// Their flags are none that say what the value is, so an SDK has to be told how to read it.
		got, err := documents.Get("from-"+from, &gocb.GetOptions{Transcoder: plainTranscoder{}})
		var value []byte
		if err != nil || got.Content(&value) != nil || string(value) != fmt.Sprintf(`{"from":%q}`, from) {
			t.Errorf("from-%s: %q, %v", from, value, err)
		}
		exists, err := documents.Exists("from-"+from, nil)
		if err != nil || !exists.Exists() {
			t.Errorf("from-%s: %v", from, err)
		}
	}
	if _, err := documents.Upsert("from-sdk", []byte(`{"from":"sdk"}`), &gocb.UpsertOptions{Transcoder: raw}); err != nil {
		t.Fatal(err)
	}
	c := memcache.New(net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Memcached)))
	defer c.Close()
	if got, err := c.Get("from-sdk"); err != nil || string(got.Value) != `{"from":"sdk"}` || got.Flags != 0x2000000 {
		t.Errorf("from-sdk: %v, %v", got, err)
	}
}

// plainTranscoder gives values as they are, whatever their flags.
type plainTranscoder struct{}

func (plainTranscoder) Decode(value []byte, _ uint32, out any) error {
	*out.(*[]byte) = value //nolint:forcetypeassert // the test asks for nothing else
	return nil
}

func (plainTranscoder) Encode(value any) ([]byte, uint32, error) {
	return value.([]byte), 0, nil //nolint:forcetypeassert // the same
}
