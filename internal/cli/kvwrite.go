package cli

import (
	"context"
	"errors"

	"github.com/charpoy/charpoy/internal/client"
)

// storing are the flags and arguments of set, add and replace.
type storing struct {
	shape
	lifetime
	condition
	Key          string `arg:"" help:"Key of the document."`
	Value        string `arg:"" help:"The value; - reads the standard input."`
	Flags        uint32 `placeholder:"N" help:"Flags: a number that SDKs keep the value's format in."`
	PreserveTime bool   `name:"preserve-expiry" help:"A document that exists keeps its own expiry."`
}

type storeFunc func(*client.Conn, context.Context, string, []byte, client.With) (client.Written, error)

// jsonFlags is what SDKs of today write for JSON: without it they would take the value for bytes.
const jsonFlags = 0x02000006

func (s *storing) store(a *app, t *tree, op storeFunc) error {
	w, err := s.with()
	if err != nil {
		return err
	}
	if w.Expiry, err = s.seconds(a.Now()); err != nil {
		return err
	}
	value, err := a.value(s.Value)
	if err != nil {
		return err
	}
	w.PreserveExpiry = s.PreserveTime
	if w.Flags = s.Flags; w.Flags == 0 && validJSON(value) {
		w.Flags = jsonFlags
	}
	return t.KV.with(a, func(conn *client.Conn) error {
		written, err := op(conn, a.ctx, s.Key, value, w)
		if err != nil {
			return about(s.Key, err)
		}
		return a.done(s.shape, s.Key, "", &written)
	})
}

// kvSetCmd writes a document.
type kvSetCmd struct{ storing }

// Run writes it.
func (c *kvSetCmd) Run(a *app, t *tree) error { return c.store(a, t, (*client.Conn).Set) }

// kvAddCmd writes a new document.
type kvAddCmd struct{ storing }

// Run writes it.
func (c *kvAddCmd) Run(a *app, t *tree) error { return c.store(a, t, (*client.Conn).Add) }

// kvReplaceCmd writes a document that exists.
type kvReplaceCmd struct{ storing }

// Run writes it.
func (c *kvReplaceCmd) Run(a *app, t *tree) error { return c.store(a, t, (*client.Conn).Replace) }

// joining are the flags and arguments of append and prepend.
type joining struct {
	shape
	condition
	Key   string `arg:"" help:"Key of the document."`
	Value string `arg:"" help:"What to add; - reads the standard input."`
}

func (j *joining) join(a *app, t *tree, op storeFunc) error {
	w, err := j.with()
	if err != nil {
		return err
	}
	value, err := a.value(j.Value)
	if err != nil {
		return err
	}
	return t.KV.with(a, func(conn *client.Conn) error {
		written, err := op(conn, a.ctx, j.Key, value, w)
		if err != nil {
			return about(j.Key, err)
		}
		return a.done(j.shape, j.Key, "", &written)
	})
}

// kvAppendCmd adds at the end.
type kvAppendCmd struct{ joining }

// Run adds it.
func (c *kvAppendCmd) Run(a *app, t *tree) error { return c.join(a, t, (*client.Conn).Append) }

// kvPrependCmd adds at the beginning.
type kvPrependCmd struct{ joining }

// Run adds it.
func (c *kvPrependCmd) Run(a *app, t *tree) error { return c.join(a, t, (*client.Conn).Prepend) }

// kvDeleteCmd deletes documents.
type kvDeleteCmd struct {
	shape
	condition
	Keys []string `arg:"" name:"key" help:"Keys of the documents."`
}

// Run deletes them in order and stops at the first that cannot be deleted.
func (c *kvDeleteCmd) Run(a *app, t *tree) error {
	w, err := c.with()
	if err != nil {
		return err
	}
	if len(c.Keys) > 1 && c.CAS != 0 {
		return fail(exitUsage, "--cas goes with one key")
	}
	return t.KV.with(a, func(conn *client.Conn) error {
		for _, key := range c.Keys {
			written, err := conn.Delete(a.ctx, key, w)
			if err != nil {
				return about(key, err)
			}
			if err := a.done(c.shape, key, "", &written); err != nil {
				return err
			}
		}
		return nil
	})
}

// counting are the flags and arguments of incr and decr.
type counting struct {
	shape
	lifetime
	condition
	Key     string  `arg:"" help:"Key of the counter."`
	Delta   uint64  `arg:"" optional:"" default:"1" help:"By how much (1)."`
	Initial *uint64 `placeholder:"N" help:"Make a counter that is missing, with this value."`
}

type countFunc func(*client.Conn, context.Context, string, client.Count, client.With) (uint64, client.Written, error)

func (n *counting) count(a *app, t *tree, op countFunc) error {
	w, err := n.with()
	if err != nil {
		return err
	}
	if w.Expiry, err = n.seconds(a.Now()); err != nil {
		return err
	}
	count := client.Count{Delta: n.Delta}
	if n.Initial != nil {
		count.Create, count.Initial = true, *n.Initial
	}
	return t.KV.with(a, func(conn *client.Conn) error {
		now, written, err := op(conn, a.ctx, n.Key, count, w)
		if err != nil {
			return about(n.Key, err)
		}
		return a.done(n.shape, n.Key, decimal(now), &written)
	})
}

// kvIncrCmd adds to a counter.
type kvIncrCmd struct{ counting }

// Run adds.
func (c *kvIncrCmd) Run(a *app, t *tree) error { return c.count(a, t, (*client.Conn).Incr) }

// kvDecrCmd subtracts from a counter.
type kvDecrCmd struct{ counting }

// Run subtracts.
func (c *kvDecrCmd) Run(a *app, t *tree) error { return c.count(a, t, (*client.Conn).Decr) }

// kvTouchCmd gives a document another expiry.
type kvTouchCmd struct {
	shape
	Key    string `arg:"" help:"Key of the document."`
	Expiry string `arg:"" name:"when" help:"Duration such as 90s, 24h or 7d from now, a time such as 2030-01-31T00:00:00Z, or none."`
}

// Run touches it.
func (c *kvTouchCmd) Run(a *app, t *tree) error {
	expiry, err := (&lifetime{c.Expiry}).seconds(a.Now())
	if err != nil {
		return err
	}
	return t.KV.with(a, func(conn *client.Conn) error {
		written, err := conn.Touch(a.ctx, c.Key, client.With{Expiry: expiry})
		if err != nil {
			return about(c.Key, err)
		}
		return a.done(c.shape, c.Key, "", &written)
	})
}

// kvLockCmd locks a document.
type kvLockCmd struct {
	shape
	Key     string `arg:"" help:"Key of the document."`
	Seconds uint32 `default:"15" placeholder:"N" help:"How long the lock lasts if nobody ends it, 1 to 30 (${default})."`
}

// Help is the long help.
func (*kvLockCmd) Help() string {
	return "Prints the value. The CAS of the lock, which unlock and the next write need, goes to the standard error; with " +
		"-o json it is in the object.\n\nExample: charpoy kv lock city::2867714 -o json"
}

// Run locks it.
func (c *kvLockCmd) Run(a *app, t *tree) error {
	if c.Seconds < 1 || c.Seconds > 30 {
		return fail(exitUsage, "--seconds %d: a lock lasts 1 to 30 seconds", c.Seconds)
	}
	return t.KV.with(a, func(conn *client.Conn) error {
		d, err := conn.Lock(a.ctx, c.Key, c.Seconds, client.With{})
		if err != nil {
			return about(c.Key, err)
		}
		if c.Output == "raw" {
			a.note("locked for %d s; the lock's CAS is %d", c.Seconds, uint64(d.CAS))
		}
		return a.show(c.shape, c.Key, &d, true)
	})
}

// kvUnlockCmd ends a lock.
type kvUnlockCmd struct {
	Key string `arg:"" help:"Key of the document."`
	CAS uint64 `arg:"" name:"cas" help:"CAS of the lock."`
}

// Run ends it.
func (c *kvUnlockCmd) Run(a *app, t *tree) error {
	var w client.With
	assign(&w.CAS, c.CAS)
	return t.KV.with(a, func(conn *client.Conn) error {
		err := about(c.Key, conn.Unlock(a.ctx, c.Key, w))
		if errors.Is(err, client.ErrLocked) {
			return (&failure{code: exitConflict, err: err}).do("Its lock has another CAS: unlock needs the one that `kv lock` gave.")
		}
		return err
	})
}
