package mcserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/mctext"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// The port for plain memcached clients (wire.md 22). Its connections share everything with the others but what happens between
// the bytes that have arrived and the bytes of the replies: the first byte decides for the life of a connection whether that is
// processText or processClassic. Both work on documents of one bucket's default collection and find the vBucket of a key
// themselves.

// portMemcached is the port's name in metrics and statistics.
const portMemcached = "memcached"

// MemcachedAuth says how clients of the memcached port log in.
type MemcachedAuth uint8

// The ways.
const (
	// MemcachedNone: not at all. They may read, insert, change and delete documents of the one bucket, and nothing else. Only
	// loopback addresses can be opened so.
	MemcachedNone MemcachedAuth = iota
	// MemcachedSASL: by SASL, which the classic binary protocol has. Text commands are refused.
	MemcachedSASL
	// MemcachedASCII: a text connection begins with set <any> 0 0 <n> and, as data, user and password with a blank between them.
	// Binary requests are refused.
	MemcachedASCII
)

// memcachedUser is what a client of the port that need not log in is called. It is no name that a user can have.
const memcachedUser = "@memcached"

// validateMemcached refuses to serve everybody on the network without a login.
func (o *Options) validateMemcached() error {
	if o.MemcachedAddr == "" || o.MemcachedAuth != MemcachedNone {
		return nil
	}
	host, _, err := net.SplitHostPort(o.MemcachedAddr)
	if err != nil {
		return fmt.Errorf("mcserver: Options.MemcachedAddr: %w", err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("memcached port on %s: other machines could read and change every document of bucket %q without a login. "+
		"Set memcached-auth to sasl or ascii, bind to 127.0.0.1, or switch the port off", o.MemcachedAddr, o.MemcachedBucket)
}

// face is what a connection of the memcached port has beyond the session.
type face struct {
	protocol protocol
	skip     mctext.Skip // input that is thrown away
	need     int         // bytes of the incomplete request that has begun to arrive; 0 = unknown
	scanned  int         // bytes of its line in which there is no line end: a line that comes in crumbs is looked at once
	room     int         // what the head of the last value took beyond its key: the next one probably takes as much
	metaRoom int         // the same for meta commands

	list struct { // a list of keys of which some have been answered
		left   int // bytes of it, with its line end; 0 = there is none
		verb   mctext.Verb
		expiry uint32
	}
	dump *dump // a list of documents that is being written
}

// protocol is what a connection of the memcached port speaks.
type protocol uint8

const (
	undecided protocol = iota
	textual
	classic
)

// plainWork is the memory for processing a batch of the memcached port.
type plainWork struct {
	commands [maxBatch]mctext.Command
	sizes    [maxBatch]int // bytes of input
	count    int

	need    int // bytes of the command behind them that is incomplete; 0 = unknown
	scanned int // bytes that there are of its line if that is incomplete

	units   [maxBatch]unit
	next    int    // command of which the next unit is made
	rest    []byte // keys of it that have no unit yet; nil = all
	failed  int    // command whose remaining keys are not looked at, -1 = none
	mutated bool

	access kv.Access
	found  kv.Accessed
	head   []byte
	tally  plainTally
	frames [maxBatch]classicRequest
}

// unit is one key of a command, or a command without one: what is executed at once.
type unit struct {
	command     uint8
	first, last bool // of its command
	key         int  // index in work.keys, -1 = none
	at          int  // where the key begins, counted from the beginning of the input
}

// greetMemcached makes c a connection of the memcached port.
func (c *conn) greetMemcached() {
	c.face = &face{}
	c.traced.port = trace.PortMemcached
	if c.server.options.MemcachedAuth != MemcachedNone {
		return
	}
	s := &c.session
	s.identity, s.builtin = &auth.Identity{User: memcachedUser, Domain: spec.DomainLocal}, true
	s.access = auth.FixedAccess(auth.Read | auth.Insert | auth.Upsert | auth.Delete)
	c.introduce()
}

// enterBucket selects the bucket of the port, as soon as it is there.
func (c *conn) enterBucket() error {
	s := &c.session
	if s.bucket != nil || s.identity == nil {
		return nil
	}
	b, err := c.server.node.Bucket(c.server.options.MemcachedBucket)
	if err == nil {
		c.selectBucket(b)
	}
	return err
}

// processMemcached is process for the memcached port. The first byte decides which protocol the connection speaks.
func (c *conn) processMemcached(ctx context.Context, w *work, in []byte) (used int, next verdict) {
	f := c.face
	if w.plain == nil {
		w.plain = new(plainWork)
	}
	w.count = 0
	if f.dump != nil {
		if c.writeDump(ctx, w) {
			f.dump = nil
		}
		return 0, writeOut
	}
	if len(in) == 0 {
		return 0, needInput
	}
	if f.protocol == undecided {
		f.protocol = textual
		if mcbp.Magic(in[0]) == mcbp.MagicRequest {
			f.protocol = classic
		}
	}
	if f.skip.Pending() {
		used = f.skip.Take(in)
		in = in[used:]
		if f.skip.Pending() || len(in) == 0 {
			f.need = 0
			return used, needInput
		}
	}
	if c.session.identity != nil {
		if err := c.server.flush.overdue(ctx, c.server); err != nil {
			c.server.logger.Warn("delayed flush failed", "bucket", c.server.options.MemcachedBucket, "error", err)
		}
	}
	var n int
	if f.protocol == classic {
		n, next = c.processClassic(ctx, w, in)
	} else {
		n, next = c.processText(ctx, w, in)
	}
	c.server.plain.add(&w.plain.tally)
	if w.plain.mutated {
		w.plain.mutated = false
		if d := c.brakeTime(); d > 0 {
			rest(ctx, d)
		}
	}
	return used + n, next
}

// processText decodes commands for up to maxBatch documents, runs them in order and appends their replies to w.out. A command
// with more keys than that is run in parts of maxBatch; it is not held as a whole when its replies get long, but goes on in the
// next call.
func (c *conn) processText(ctx context.Context, w *work, in []byte) (used int, next verdict) {
	p := w.plain
	err := c.parseText(p, in)
	if p.count == 0 {
		return 0, c.afterText(p, err)
	}
	c.beginBatch(w)
	absent := c.enterBucket()
	gone := c.session.bucketGone()
	p.next, p.rest, p.failed = 0, nil, -1
	for p.next < p.count {
		n := c.gather(w, in)
		single := timesEach(n)
		w.count += n
		for i := range n {
			u := &p.units[i]
			if !u.first && int(u.command) == p.failed {
				used += c.done(p, u)
				continue
			}
			if len(w.out) > 0 && (len(w.out) >= writeAt || c.textMayWait(&p.commands[u.command])) {
				c.settle(w)
				return c.pause(p, u, used), writeOut
			}
			next := c.runUnit(ctx, w, u, absent)
			used += c.done(p, u)
			if next != goOn || gone && c.session.bucketGone() {
				c.settleNow(w)
				if next == goOn {
					next = hangUp
				}
				return used, next
			}
			if single {
				c.settleNow(w)
			}
		}
		c.settleNow(w)
		if p.failed == p.next { // none of its keys is looked at any more
			used += p.sizes[p.next]
			c.face.list.left = 0
			p.next, p.rest = p.next+1, nil
		}
	}
	return used, c.afterText(p, err)
}

// done gives the input that is done with when a unit is: that of its command, with the command's last unit.
func (c *conn) done(p *plainWork, u *unit) int {
	if !u.last {
		return 0
	}
	c.face.list.left = 0
	return p.sizes[u.command]
}

// pause prepares for going on with unit u in the next call, and returns how much input is done with until then.
func (c *conn) pause(p *plainWork, u *unit, used int) int {
	if u.first {
		return used
	}
	l, command := &c.face.list, &p.commands[u.command]
	l.left = used + p.sizes[u.command] - u.at
	l.verb, l.expiry = command.Verb, command.Expiry
	return u.at
}

// afterText decides what follows a batch, from the reason for which parseText ended it.
func (c *conn) afterText(p *plainWork, err error) verdict {
	if errors.Is(err, mctext.ErrIncomplete) {
		c.face.need, c.face.scanned = p.need, p.scanned
		return needInput
	}
	return c.afterBatch(err)
}

// parseText is the first pass: it decodes commands until there are keys for a whole touch pass. The batch ends behind a command
// that changes what later input means.
func (c *conn) parseText(p *plainWork, in []byte) (err error) {
	p.count = 0
	defer recoverParse(&err)
	most, stranger := c.server.options.MemcachedItemSize, c.session.identity == nil
	if stranger {
		most = maxLogin
	}
	p.need, p.scanned = 0, 0
	if c.stillIncomplete(p, in) {
		return mctext.ErrIncomplete
	}
	for keys := 0; keys < maxBatch && p.count < maxBatch; p.count++ {
		command := &p.commands[p.count]
		var n int
		if left := c.face.list.left; left > 0 && p.count == 0 {
			command.Resume(c.face.list.verb, c.face.list.expiry, in[:left])
			n = left
		} else if n, err = command.Parse(in, most); err != nil {
			if p.need = command.Need; p.need == 0 {
				p.scanned = len(in)
			}
			if stranger && len(in) > maxStranger {
				return mctext.ErrLineTooLong
			}
			return err
		}
		p.sizes[p.count] = n
		in = in[n:]
		keys += max(1, command.NumKeys)
		if stranger || command.Skip.Pending() || command.Verb == mctext.Quit {
			p.count++
			return nil
		}
	}
	return nil
}

// stillIncomplete reports whether what has come since the last call does not complete the command at the beginning of in.
// Lines within the usual limit are simply looked at again.
func (c *conn) stillIncomplete(p *plainWork, in []byte) bool {
	f := c.face
	need, scanned := f.need, f.scanned
	f.need, f.scanned = 0, 0
	switch {
	case need > len(in):
		p.need = need
		return true
	case scanned <= mctext.MaxLine || len(in) > mctext.MaxKeysLine || bytes.IndexByte(in[scanned:], '\n') >= 0:
		return false
	}
	p.scanned = len(in)
	return true
}

// gather makes units of the commands that are left, finds their keys' places, and has the engine look at all documents at once,
// so that the waits for memory overlap (kv.md 3.3). It returns how many units there are.
func (c *conn) gather(w *work, in []byte) int {
	p := w.plain
	n, keys := 0, 0
	b := c.session.bucket
	for n < maxBatch && p.next < p.count {
		command := &p.commands[p.next]
		u := &p.units[n]
		*u = unit{command: uint8(p.next), first: p.rest == nil, last: true, key: -1}
		var name []byte
		switch {
		case command.Fault != "" || b == nil:
		case command.Verb.Retrieves():
			if p.rest == nil {
				p.rest = command.Keys
			}
			name, p.rest = mctext.NextKey(p.rest)
			u.at = cap(in) - cap(name) // both end where the connection's buffer ends
			more, _ := mctext.NextKey(p.rest)
			u.last = len(more) == 0
		default:
			name = command.Key
		}
		if len(name) > 0 {
			u.key = keys
			id := vbucket.Of(name, b.Spec().NumVBuckets)
			w.keys[keys] = b.KV().Key(id, docid.Default, name)
			keys++
		}
		n++
		if u.last {
			p.next++
			p.rest = nil
		}
	}
	if keys > 1 {
		w.touched += b.KV().Prefetch(w.keys[:keys])
	}
	return n
}

// textMayWait reports whether a command can take long, so that earlier replies should not wait with it.
func (c *conn) textMayWait(command *mctext.Command) bool {
	o := &textOps[command.Verb]
	switch {
	case c.session.identity == nil, o.slow, c.server.options.Interceptor.MayWait():
		return true
	case o.need == mcbp.NeedRead || c.session.bucket == nil:
		return false
	}
	return c.session.bucket.Spec().MinDurability != 0
}

// textExecutor carries out one command, or what one of its keys asks for, when form and rights have been checked. k is nil for
// a command without a key. It appends the reply to w.out. An error is answered with a line of its own; what had been appended
// is then dropped.
type textExecutor func(c *conn, ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (outcome, error)

// textOp is what is known of a verb.
type textOp struct {
	run  textExecutor
	like mcbp.Opcode // the opcode under which metrics and probes know it
	need mcbp.Need   // of the documents
	slow bool        // may take long
	free bool        // needs no bucket
}

// textOps says what each verb does. Those that are handled apart have no run.
//
//nolint:gochecknoglobals // a constant table
var textOps = makeTextOps()

func makeTextOps() (t [mctext.NumVerbs]textOp) {
	const get, read, write = mcbp.OpGet, mcbp.NeedRead, mcbp.NeedUpsert
	free := func(f textExecutor) textOp {
		return textOp{run: f, like: mcbp.OpNoop, free: true}
	}
	t[mctext.Unknown] = textOp{like: mcbp.OpNoop, free: true}
	t[mctext.Get] = textOp{run: (*conn).textGet, like: get, need: read}
	t[mctext.Gets] = t[mctext.Get]
	t[mctext.Gat] = textOp{run: (*conn).textGetAndTouch, like: mcbp.OpGetAndTouch, need: mcbp.NeedReadUpsert}
	t[mctext.Gats] = t[mctext.Gat]
	t[mctext.Set] = textOp{run: (*conn).textStore, like: mcbp.OpSet, need: write}
	t[mctext.Add] = textOp{run: (*conn).textStore, like: mcbp.OpAdd, need: mcbp.NeedInsert}
	t[mctext.Replace] = textOp{run: (*conn).textStore, like: mcbp.OpReplace, need: write}
	t[mctext.CAS] = textOp{run: (*conn).textStore, like: mcbp.OpReplace, need: write}
	t[mctext.Append] = textOp{run: (*conn).textStore, like: mcbp.OpAppend, need: write}
	t[mctext.Prepend] = textOp{run: (*conn).textStore, like: mcbp.OpPrepend, need: write}
	t[mctext.Touch] = textOp{run: (*conn).textTouch, like: mcbp.OpTouch, need: write}
	t[mctext.Delete] = textOp{run: (*conn).textDelete, like: mcbp.OpDelete, need: mcbp.NeedDelete}
	t[mctext.Incr] = textOp{run: (*conn).textCount, like: mcbp.OpIncrement, need: mcbp.NeedReadUpsert}
	t[mctext.Decr] = textOp{run: (*conn).textCount, like: mcbp.OpDecrement, need: mcbp.NeedReadUpsert}
	t[mctext.MetaGet] = textOp{run: (*conn).metaGet, like: get, need: read}
	t[mctext.MetaSet] = textOp{run: (*conn).metaSet, like: mcbp.OpSet, need: write}
	t[mctext.MetaDelete] = textOp{run: (*conn).metaDelete, like: mcbp.OpDelete, need: mcbp.NeedDelete}
	t[mctext.MetaArithmetic] = textOp{run: (*conn).metaArithmetic, like: mcbp.OpIncrement, need: mcbp.NeedReadUpsert}
	t[mctext.MetaDebug] = textOp{run: (*conn).metaDebug, like: mcbp.OpGetMeta, need: read}
	t[mctext.MetaNoop] = free((*conn).metaNoop)
	t[mctext.FlushAll] = textOp{run: (*conn).textFlush, like: mcbp.OpFlush, slow: true}
	t[mctext.Version] = free((*conn).textVersion)
	t[mctext.Verbosity] = free((*conn).textVerbosity)
	t[mctext.Stats] = free((*conn).textStats)
	t[mctext.CacheMemLimit] = textOp{run: (*conn).textMemLimit, like: mcbp.OpNoop, slow: true}
	t[mctext.Shutdown] = free((*conn).textShutdown)
	t[mctext.LRU] = free((*conn).textTuning)
	t[mctext.Slabs] = free((*conn).textTuning)
	t[mctext.LRUCrawler] = textOp{run: (*conn).textCrawler, like: mcbp.OpGetKeys, need: read}
	t[mctext.Watch] = free((*conn).textWatch)
	t[mctext.Quit] = free((*conn).textSilence)
	return t
}
