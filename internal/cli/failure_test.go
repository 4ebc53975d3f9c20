package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/node"
	"github.com/charpoy/charpoy/internal/spec"
)

// TestExitCodes holds the table of docs/operating/command-line.md: what kind of error ends with which code.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{errors.New("anything"), exitFailed},
		{fail(exitRefused, "known"), exitRefused},
		{fmt.Errorf("wrapped: %w", fail(exitBusy, "known")), exitBusy},
		{&config.Error{Name: "bind"}, exitUsage},
		{spec.Invalid{{Field: "name"}}, exitUsage},
		{&node.FatalError{Err: errors.New("disk")}, exitDisk},
		{fmt.Errorf("open: %w", &os.PathError{Op: "open", Path: "x", Err: os.ErrNotExist}), exitNotFound},
		{&os.PathError{Op: "open", Path: "x", Err: os.ErrPermission}, exitDenied},
		{client.ErrNotFound, exitNotFound},
		{client.ErrNoBucket, exitNotFound},
		{client.ErrNotStored, exitNotFound},
		{client.ErrExists, exitConflict},
		{client.ErrCASMismatch, exitConflict},
		{client.ErrLocked, exitConflict},
		{client.ErrNotLocked, exitConflict},
		{client.ErrAuth, exitDenied},
		{client.ErrAccess, exitDenied},
		{client.ErrConnection, exitUnreachable},
		{client.ErrDurabilityAmbiguous, exitUnreachable},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, exitUnreachable},
		{context.DeadlineExceeded, exitUnreachable},
		{client.ErrTemporary, exitBusy},
		{client.ErrNoMemory, exitBusy},
		{client.ErrDurabilityImpossible, exitRefused},
		{client.ErrTooBig, exitFailed},
		{&client.RESTError{Status: 400, Text: "Flush is disabled for the bucket"}, exitRefused},
		{&client.RESTError{Status: 400, Text: "ramQuota: too small"}, exitUsage},
		{&client.RESTError{Status: 400, Text: "Bucket with given name already exists"}, exitConflict},
		{&client.RESTError{Status: 404}, exitNotFound},
		{&client.RESTError{Status: 401}, exitDenied},
		{&client.RESTError{Status: 403}, exitDenied},
		{&client.RESTError{Status: 503}, exitBusy},
	} {
		if got := describe(t.Context(), c.err); got.code != c.want {
			t.Errorf("%T %v: code %d, want %d", c.err, c.err, got.code, c.want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := describe(ended, fmt.Errorf("get: %w", context.Canceled)); got.code != exitInterrupted {
		t.Errorf("after a signal: code %d, want %d", got.code, exitInterrupted)
	}
}

// outcome runs one command in this process, without a server, and gives what came of it.
func outcome(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), &Process{
		Name: "charpoy", Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Version: "1.2.3",
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
	return code, out.String(), errs.String()
}

// TestUsage: what is wrong with a command line is said on the standard error, with what to do, and ends with 2; help is data.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args   string
		env    map[string]string
		code   int
		stderr string
	}{
		{"kv get", nil, exitUsage, "charpoy kv get --help"},
		{"kv --nonsense", nil, exitUsage, "unknown flag --nonsense"},
		{"nonsense", nil, exitUsage, "unexpected argument nonsense"},
		{"buckets rm x --nonsense", nil, exitUsage, "See: charpoy bucket delete --help"},
		{"config --kv-port 70000", nil, exitUsage, `setting kv-port (flag): "70000" is no port`},
		{"config --config /does/not/exist", nil, exitUsage, "--config"},
		{"serve --bind 0.0.0.0", nil, exitUsage, "CHARPOY_PASSWORD"},
		{"kv get x", nil, exitDenied, "CHARPOY_PASSWORD"},
		{"kv get x --server ftp://here", map[string]string{"CHARPOY_PASSWORD": "x"}, exitUsage, "https://host:port"},
		{"kv get x --kv couchbase://a,b", map[string]string{"CHARPOY_PASSWORD": "x"}, exitUsage, "couchbase://host:port"},
		{"kv set k v --expiry soon", nil, exitUsage, "Examples: 90s"},
		{"kv lock k --seconds 31", nil, exitUsage, "1 to 30"},
		{"bucket create b --quota much", nil, exitUsage, "256MiB"},
		{"bucket update b", nil, exitUsage, "bucket update --help"},
		{"import x --key plain", nil, exitUsage, "city::{geonameid}"},
		{"import x --key {a} --key-field b", nil, exitUsage, "--key"},
		{"import /does/not/exist --key {a}", nil, exitNotFound, "/does/not/exist"},
		{"bucket ls", map[string]string{"CHARPOY_PASSWORD_FILE": "/does/not/exist"}, exitUsage, "CHARPOY_PASSWORD_FILE"},
		{"bucket ls --server 127.0.0.1:1", map[string]string{"CHARPOY_PASSWORD": "x"}, exitUnreachable, "charpoy demo"},
	} {
		code, stdout, stderr := outcome(t, c.env, strings.Fields(c.args)...)
		if code != c.code || stdout != "" || !strings.Contains(stderr, c.stderr) || !strings.HasPrefix(stderr, "charpoy: ") {
			t.Errorf("%s: code %d (want %d), stdout %q, stderr %q (want %q in it)", c.args, code, c.code, stdout, stderr, c.stderr)
		}
	}
}

// TestVersionAndConfig: data goes to the standard output, in the form asked for.
func TestVersionAndConfig(t *testing.T) {
	for _, c := range []struct {
		args string
		env  map[string]string
		want string
	}{
		{"version", nil, "charpoy 1.2.3 (go"},
		{"version -o json", nil, `"version": "1.2.3"`},
		{"config --kv-port 0 -o ndjson", nil, `{"name":"kv-port","value":"0","origin":"flag","variable":"CHARPOY_KV_PORT"}`},
		{"config -o ndjson", map[string]string{"CHARPOY_KV_PORT": "5"}, `{"name":"kv-port","value":"5","origin":"environment","variable":"CHARPOY_KV_PORT"}`},
		{"config", map[string]string{"CHARPOY_PASSWORD": "secret-secret"}, "(hidden)"},
	} {
		code, stdout, stderr := outcome(t, c.env, strings.Fields(c.args)...)
		if code != exitDone || !strings.Contains(stdout, c.want) || stderr != "" {
			t.Errorf("%s: code %d, stdout %q (want %q in it), stderr %q", c.args, code, stdout, c.want, stderr)
		}
		if strings.Contains(stdout, "secret-secret") {
			t.Errorf("%s: the password is printed", c.args)
		}
	}
}

// TestPrintable: what others named cannot steer the terminal.
func TestPrintable(t *testing.T) {
	if got, want := printable("a\x1b[2Jb\r\nä\u009b"), "a\uFFFD[2Jb\uFFFD\uFFFDä\uFFFD"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestNullIsNobody: the null device is a character device like a terminal, but nobody sits in front of it.
func TestNullIsNobody(t *testing.T) {
	other := filepath.Join(t.TempDir(), "stdin") // a shell opens it, and the program sees another name
	if err := os.Symlink(os.DevNull, other); err != nil {
		t.Skip(err)
	}
	for _, name := range []string{os.DevNull, other} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if terminal(f) {
			t.Errorf("%s is taken for a terminal", name)
		}
		f.Close()
	}
}

// TestConfirm: nothing is destroyed without the name, and without a person only with --yes-delete.
func TestConfirm(t *testing.T) {
	a := &app{Process: &Process{Stdin: strings.NewReader("shop\n"), Stderr: io.Discard}, ctx: t.Context(), common: &common{}}
	for given, want := range map[string]int{"shop": exitDone, "other": exitRefused, "": exitRefused} {
		got := exitDone
		if err := a.confirm("bucket", "shop", given); err != nil {
			got = describe(t.Context(), err).code
		}
		if got != want {
			t.Errorf("--yes-delete %q: code %d, want %d", given, got, want)
		}
	}
}
