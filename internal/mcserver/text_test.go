package mcserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/network"
	"github.com/charpoy/charpoy/internal/vbucket"
	"github.com/cockroachdb/datadriven"
)

// memcachedPort gives a world a port for plain memcached clients.
func memcachedPort(change ...func(*Options)) func(*Options) {
	return func(o *Options) {
		discard(o)
		o.MemcachedAddr = "127.0.0.1:0"
		for _, f := range change {
			f(o)
		}
	}
}

// newPlainWorld is a world with a memcached port, whose buckets may be flushed and resized.
func newPlainWorld(t testing.TB, change ...func(*Options)) *world {
	t.Helper()
	var w *world
	w = newWorld(t, memcachedPort(append(change, func(o *Options) {
		o.Flush = func(_ context.Context, bucket string) error {
			for i := range w.assign.Buckets {
				if s := &w.assign.Buckets[i].Spec; s.Name == bucket {
					s.FlushCount++
				}
			}
			w.assign.Rev++
			w.apply()
			return nil
		}
		o.Resize = func(_ context.Context, _ string, quota int64) error {
			if quota > 64<<20 {
				return errors.New("too much")
			}
			return nil
		}
	})...))
	for i := range w.assign.Buckets {
		w.assign.Buckets[i].Spec.FlushEnabled = w.assign.Buckets[i].Spec.Name == "default"
		w.assign.Buckets[i].Rows[testVBuckets-1].Chain = []int16{0} // clients that know no vBuckets need all of them here
	}
	w.assign.Rev++
	w.apply()
	return w
}

// plain makes a connection of the memcached port that is driven by calling step, without a socket.
func (w *world) plain(t testing.TB) *conn {
	t.Helper()
	near, far := network.Pipe(network.Addr("127.0.0.1:1"), network.Addr("127.0.0.1:2"))
	t.Cleanup(func() { near.Close(); far.Close() })
	return newConn(w.server, near, listener{port: portMemcached})
}

// feed processes all of in, as drain does, and returns the replies and how it ended.
func (c *conn) feed(t testing.TB, in []byte) (out []byte, rest int, next verdict) {
	t.Helper()
	w := c.server.takeWork()
	defer c.server.giveBack(w)
	for {
		used, next := c.step(t.Context(), w, in)
		if used < 0 || used > len(in) {
			t.Fatalf("%d of %d bytes used", used, len(in))
		}
		in = in[used:]
		out = append(out, w.out...)
		w.out = w.out[:0]
		if next == hangUp || next == needInput {
			return out, len(in), next
		}
	}
}

// TestTextScripts runs the transcripts of testdata/text. -rewrite writes the answers anew. Commands:
//
//	text [conn=N] [chunks]     lines to send to the memcached port, each with a line end unless its last character is a backslash;
//	                           \xNN, \r, \n and {c1} (the CAS that was met first) are replaced; with chunks one byte after another
//	classic [conn=N]           frames, as in testdata/scripts, to the same port
//	sdk                        frames to the key-value port
//	advance seconds=N, drop bucket=B, create bucket=B
func TestTextScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/text", func(t *testing.T, path string) {
		var change []func(*Options)
		switch {
		case strings.Contains(path, "login"):
			change = append(change, func(o *Options) { o.MemcachedAuth = MemcachedASCII })
		case strings.Contains(path, "sasl"):
			change = append(change, func(o *Options) { o.MemcachedAuth = MemcachedSASL })
		case strings.Contains(path, "small"):
			change = append(change, func(o *Options) { o.MemcachedItemSize = 10 })
		}
		s := &textScript{conns: map[string]*conn{}, pending: map[string][]byte{}}
		s.script = &script{world: newPlainWorld(t, change...), names: map[string]string{}, values: map[string]uint64{}}
		datadriven.RunTest(t, path, s.run)
	})
}

type textScript struct {
	*script

	conns   map[string]*conn
	pending map[string][]byte // input of the connection that has not been used
}

func (s *textScript) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	name := "0"
	d.MaybeScanArgs(t, "conn", &name)
	switch d.Cmd {
	case "text":
		return s.text(t, d, name)
	case "classic":
		return s.classic(t, d, name)
	case "sdk":
		if s.peer == nil {
			s.peer = s.world.dial().enter("app", "default", usual()...)
		}
		for line := range strings.SplitSeq(strings.TrimSpace(d.Input), "\n") {
			s.peer.write(s.toDefault(t, line))
		}
		return s.replies()
	case "advance":
		var seconds int
		d.ScanArgs(t, "seconds", &seconds)
		s.world.clock.Advance(time.Duration(seconds) * time.Second)
	case "drop", "create":
		var bucket string
		d.ScanArgs(t, "bucket", &bucket)
		w := s.world
		left := w.assign.Buckets[:0:0]
		for _, b := range w.assign.Buckets {
			if b.Spec.Name != bucket {
				left = append(left, b)
			}
		}
		if d.Cmd == "create" {
			b := testBucket(bucket)
			b.Rows[testVBuckets-1].Chain = []int16{0}
			left = append(left, b)
		}
		w.assign.Buckets = left
		w.assign.Rev++
		w.apply()
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	return ""
}

// toDefault is request for a document of the default collection, sent to its vBucket.
func (s *textScript) toDefault(t *testing.T, line string) []byte {
	t.Helper()
	f, _, err := mcbp.Decode(s.request(t, line))
	if err != nil {
		t.Fatal(err)
	}
	f.VB = uint16(vbucket.Of(f.Key, testVBuckets))
	f.Key = append(docid.AppendPrefix(nil, docid.Default), f.Key...)
	return mcbp.AppendRequest(nil, &f)
}

func (s *textScript) conn(t *testing.T, name string) *conn {
	t.Helper()
	c := s.conns[name]
	if c == nil {
		c = s.world.plain(t)
		s.conns[name] = c
	}
	return c
}

// send gives a connection input and returns what it answers.
func (s *textScript) send(t *testing.T, name string, in []byte, chunks bool) (out []byte, ended string) {
	t.Helper()
	c := s.conn(t, name)
	size := len(in)
	if chunks {
		size = 1
	}
	for part := range slices.Chunk(in, max(size, 1)) {
		buf := append(s.pending[name], part...)
		more, rest, next := c.feed(t, buf)
		s.pending[name] = bytes.Clone(buf[len(buf)-rest:])
		out = append(out, more...)
		if next == hangUp {
			delete(s.conns, name)
			delete(s.pending, name)
			return out, "closed\n"
		}
	}
	if n := len(s.pending[name]); n > 0 {
		ended = fmt.Sprintf("%d bytes wait for more\n", n)
	}
	return out, ended
}

var (
	casPattern = regexp.MustCompile(`1[67]\d{17}`)
	nameUsed   = regexp.MustCompile(`\{c\d+\}`)
)

func (s *textScript) text(t *testing.T, d *datadriven.TestData, name string) string {
	t.Helper()
	var in []byte
	for line := range strings.SplitSeq(d.Input, "\n") {
		line = nameUsed.ReplaceAllStringFunc(line, func(used string) string {
			n, ok := s.values[strings.Trim(used, "{}")]
			if !ok {
				t.Fatalf("there is no %s yet", used)
			}
			return strconv.FormatUint(n, 10)
		})
		line, open := strings.CutSuffix(line, `\`)
		raw, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + `"`)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		in = append(in, raw...)
		if !open {
			in = append(in, lineEnd...)
		}
	}
	out, ended := s.send(t, name, in, d.HasArg("chunks"))
	text := casPattern.ReplaceAllStringFunc(string(out), func(digits string) string {
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return digits
		}
		return s.alias("c", n)
	})
	var b strings.Builder
	for line := range strings.SplitAfterSeq(text, lineEnd) {
		if line == "" {
			continue
		}
		plain, ok := strings.CutSuffix(line, lineEnd)
		quoted := strings.Trim(strconv.Quote(plain), `"`)
		if plain == "" {
			quoted = "(empty line)"
		}
		if !ok {
			quoted += " (no line end)"
		}
		b.WriteString(quoted + "\n")
	}
	if b.Len() == 0 && ended == "" {
		return "no reply\n"
	}
	return b.String() + ended
}

func (s *textScript) classic(t *testing.T, d *datadriven.TestData, name string) string {
	t.Helper()
	var in []byte
	for line := range strings.SplitSeq(strings.TrimSpace(d.Input), "\n") {
		in = append(in, s.request(t, line)...)
	}
	out, ended := s.send(t, name, in, d.HasArg("chunks"))
	var b strings.Builder
	for len(out) > 0 {
		f, n, err := mcbp.Decode(out)
		if err != nil {
			t.Fatalf("reply % x: %v", out, err)
		}
		s.reply(&b, &f)
		out = out[n:]
	}
	if b.Len() == 0 && ended == "" {
		return "no reply\n"
	}
	return b.String() + ended
}
