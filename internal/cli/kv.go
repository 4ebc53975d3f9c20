package cli

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/spec"
)

// kvCmd holds the commands for single documents.
type kvCmd struct {
	documents

	Get     kvGetCmd     `cmd:"" help:"Print documents."`
	Set     kvSetCmd     `cmd:"" help:"Write a document, whether it exists or not."`
	Add     kvAddCmd     `cmd:"" help:"Write a document that does not exist."`
	Replace kvReplaceCmd `cmd:"" help:"Write a document that exists."`
	Delete  kvDeleteCmd  `cmd:"" aliases:"rm" help:"Delete documents."`
	Incr    kvIncrCmd    `cmd:"" help:"Add to a counter and print its new value."`
	Decr    kvDecrCmd    `cmd:"" help:"Subtract from a counter, down to 0, and print its new value."`
	Append  kvAppendCmd  `cmd:"" help:"Add bytes at the end of a document."`
	Prepend kvPrependCmd `cmd:"" help:"Add bytes at the beginning of a document."`
	Touch   kvTouchCmd   `cmd:"" help:"Give a document another expiry."`
	Lock    kvLockCmd    `cmd:"" help:"Read a document and lock it for some seconds."`
	Unlock  kvUnlockCmd  `cmd:"" help:"End a lock."`
	Exists  kvExistsCmd  `cmd:"" help:"Tell by the exit code whether a document exists: 0 or 3."`
	Ls      kvLsCmd      `cmd:"" help:"List keys."`
}

// Help is the long help.
func (*kvCmd) Help() string {
	return "Example (against `charpoy demo`): charpoy kv get city::2867714\n\nA value of - is read from the standard input."
}

// with runs f with a connection to the bucket.
func (d *documents) with(a *app, f func(*client.Conn) error) error {
	c, err := d.dial(a)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

// shape is the flag of commands that print documents.
type shape struct {
	Output string `short:"o" enum:"raw,json" default:"raw" help:"raw: the value or nothing; json: key, CAS and the rest, one object a line."`
}

// docLine is a document with -o json. Exactly one of Value and Base64 is there. The names are documented and stable.
type docLine struct {
	Key       string          `json:"key,omitempty"`
	KeyBase64 string          `json:"key_base64,omitempty"` // in place of Key where that is not UTF-8
	CAS       string          `json:"cas,omitempty"`
	Flags     uint32          `json:"flags,omitempty"`
	Expiry    uint32          `json:"expiry,omitempty"` // Unix seconds
	Locked    bool            `json:"locked,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"`
	Base64    *string         `json:"base64,omitempty"` // of a value that is not JSON
}

// lineOfKey begins a line.
func lineOfKey(key string) docLine {
	if utf8.ValidString(key) {
		return docLine{Key: key}
	}
	return docLine{KeyBase64: base64.StdEncoding.EncodeToString([]byte(key))}
}

// lineOfDoc makes the line of a document.
func lineOfDoc(key string, d *client.Doc) docLine {
	line := lineOfKey(key)
	line.Flags, line.CAS = d.Flags, strconv.FormatUint(uint64(d.CAS), 10)
	if uint64(d.CAS) == 1<<64-1 { // what a reader sees of a locked document
		line.CAS, line.Locked = "", true
	}
	if d.JSON() && json.Valid(d.Value) {
		line.Value = d.Value
	} else {
		text := base64.StdEncoding.EncodeToString(d.Value)
		line.Base64 = &text
	}
	return line
}

// show prints a document that was read. A line end is added where it does no harm: behind JSON, for a person, and between
// several documents. Other values reach a file or a pipe byte for byte.
func (a *app) show(s shape, key string, d *client.Doc, alone bool) error {
	if s.Output == "json" {
		return newEncoder(a.Stdout).Encode(lineOfDoc(key, d))
	}
	if _, err := a.Stdout.Write(d.Value); err != nil {
		return err
	}
	exact := alone && !d.JSON() && !terminal(a.Stdout)
	if exact || strings.HasSuffix(string(d.Value), "\n") {
		return nil
	}
	_, err := io.WriteString(a.Stdout, "\n")
	return err
}

// writtenLine is a change with -o json. The names are documented and stable.
type writtenLine struct {
	Key   string `json:"key"`
	CAS   string `json:"cas"`
	VB    uint64 `json:"vb"`
	UUID  string `json:"uuid,omitempty"` // of the vBucket's history
	Seqno uint64 `json:"seqno,omitempty"`
	Value string `json:"value,omitempty"` // of a counter
}

// done prints a change.
func (a *app) done(s shape, key, counter string, w *client.Written) error {
	switch {
	case s.Output == "json":
		line := writtenLine{Key: key, CAS: strconv.FormatUint(uint64(w.CAS), 10), VB: uint64(w.VB), Value: counter}
		if w.Token.UUID != 0 {
			line.UUID, line.Seqno = fmt.Sprintf("%016x", uint64(w.Token.UUID)), uint64(w.Token.Seqno)
		}
		return newEncoder(a.Stdout).Encode(line)
	case counter != "":
		_, err := fmt.Fprintln(a.Stdout, counter)
		return err
	}
	a.detail("%s: CAS %d", printable(key), uint64(w.CAS))
	return nil
}

// about adds the key to an error of a document.
func about(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("document %q: %w", key, err)
}

// assign sets a field of one of the client's number types, whose package the command line has no need of otherwise.
func assign[T ~uint32 | ~uint64](field *T, n uint64) { *field = T(n) }

// condition are the flags of changes: what must hold, and how safe the change must be.
type condition struct {
	CAS        uint64 `name:"cas" placeholder:"N" help:"Only if the document has this CAS."`
	Durability string `enum:"none,majority,majorityAndPersistActive,persistToMajority" default:"none" placeholder:"LEVEL" help:"none, majority, majorityAndPersistActive or persistToMajority."`
}

func (c *condition) with() (w client.With, err error) {
	assign(&w.CAS, c.CAS)
	level, ok := spec.ParseDurability(c.Durability)
	if !ok && c.Durability != "" {
		return w, fail(exitUsage, "%q is no durability level", c.Durability)
	}
	w.Level = level
	return w, nil
}

// lifetime is the flag of what gets an expiry.
type lifetime struct {
	Expiry string `placeholder:"WHEN" help:"When the document goes: a duration such as 90s, 24h or 7d from now, or a time such as 2030-01-31T00:00:00Z."`
}

// seconds gives the expiry as the wire has it: 0 for none, seconds from now up to 30 days, else Unix seconds.
func (l *lifetime) seconds(now time.Time) (uint32, error) {
	const relativeLimit = 30 * 24 * time.Hour
	text := l.Expiry
	if text == "" || text == "0" || text == "none" {
		return 0, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		if !at.After(now) || at.Unix() > 1<<32-1 {
			return 0, fail(exitUsage, "--expiry %s: the time must be in the future, before 2106", text)
		}
		return uint32(at.Unix()), nil
	}
	d, err := parseSpan(text)
	if err != nil || d < time.Second {
		return 0, fail(exitUsage, "--expiry %q is neither a duration of at least 1s nor a time", text).
			do("Examples: 90s, 24h, 7d, 2030-01-31T00:00:00Z, none")
	}
	if d <= relativeLimit {
		return uint32(d / time.Second), nil
	}
	return uint32(min(now.Add(d).Unix(), 1<<32-1)), nil
}

// parseSpan reads a duration; unlike Go's it knows days: 7d.
func parseSpan(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// kvGetCmd prints documents.
type kvGetCmd struct {
	shape
	Keys []string `arg:"" name:"key" help:"Keys of the documents."`
}

// Run prints them in the order asked for. One that is missing does not keep the others from being printed.
func (c *kvGetCmd) Run(a *app, t *tree) error {
	return t.KV.with(a, func(conn *client.Conn) error {
		var missing error
		for _, key := range c.Keys {
			d, err := conn.Get(a.ctx, key, client.With{})
			if errors.Is(err, client.ErrNotFound) && len(c.Keys) > 1 {
				missing = errors.Join(missing, about(key, err))
				continue
			}
			if err != nil {
				return about(key, err)
			}
			if err := a.show(c.shape, key, &d, len(c.Keys) == 1); err != nil {
				return err
			}
		}
		return missing
	})
}

// kvExistsCmd tells whether a document exists.
type kvExistsCmd struct {
	Key string `arg:"" help:"Key of the document."`
}

// Run gives the verdict as its error.
func (c *kvExistsCmd) Run(a *app, t *tree) error {
	return t.KV.with(a, func(conn *client.Conn) error {
		m, err := conn.GetMeta(a.ctx, c.Key, client.With{})
		if err == nil && m.Deleted {
			err = client.ErrNotFound
		}
		return about(c.Key, err)
	})
}

// kvLsCmd lists keys.
type kvLsCmd struct {
	Prefix string `arg:"" optional:"" help:"Only keys that begin so."`
	Limit  int    `placeholder:"N" help:"At most so many; 0 = all."`
	Output string `short:"o" enum:"raw,ndjson" default:"raw" help:"raw: one key a line; ndjson: one object a line, safe for any key."`
}

// Help is the long help.
func (*kvLsCmd) Help() string {
	return "Keys come in the order of their vBuckets, not of the alphabet. Example: charpoy kv ls city:: --limit 5"
}

// keysPerPage is how many keys are asked for at once.
const keysPerPage = 500

// Run lists them, page by page.
func (c *kvLsCmd) Run(a *app, t *tree) error {
	return t.KV.with(a, func(conn *client.Conn) error {
		seqnos, err := conn.Seqnos(a.ctx, 1)
		if err != nil {
			return err
		}
		enc := newEncoder(a.Stdout)
		left := c.Limit
		for _, vb := range slices.Sorted(maps.Keys(seqnos)) {
			if seqnos[vb] == 0 {
				continue // nothing was ever written there
			}
			for key, err := range keysOf(c.Prefix, func(from string) ([]string, error) {
				return keysPage(a.ctx, conn.Keys, uint64(vb), from)
			}) {
				if err != nil {
					return err
				}
				if c.Output == "ndjson" {
					err = enc.Encode(lineOfKey(key))
				} else {
					_, err = fmt.Fprintln(a.Stdout, printable(key))
				}
				if left--; err != nil || left == 0 {
					return err
				}
			}
		}
		return nil
	})
}
