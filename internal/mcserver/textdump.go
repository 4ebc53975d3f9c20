package mcserver

import (
	"context"
	"encoding/base64"
	"errors"
	"math"
	"strconv"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mctext"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// dump is a list of documents that is being written: to lru_crawler metadump or mgdump. It goes on with each call of process,
// so that neither the list nor its reply is held as a whole: only the keys of one vBucket are.
type dump struct {
	short bool // mgdump
	vb    int  // the next one to be looked at
	keys  [][]byte
}

// textCrawler answers lru_crawler. What tunes memcached's crawler has no effect here.
func (c *conn) textCrawler(_ context.Context, w *work, command *mctext.Command, _ *kv.Key) (outcome, error) {
	word, rest := mctext.NextKey(command.Args)
	which, _ := mctext.NextKey(rest)
	switch string(word) {
	case "enable", "disable":
		return w.line("OK")
	case "sleep", "tocrawl", "crawl":
		if len(which) > 0 {
			return w.line("OK")
		}
	case "metadump", "mgdump":
		if len(which) > 0 { // all, hash, or numbers of classes; there is one class
			c.face.dump = &dump{short: string(word) == "mgdump"}
			return succeeded, nil
		}
	}
	return w.refusal(mctext.FaultUnknown)
}

// writeDump appends the next part of a list. It reports whether that was the last.
func (c *conn) writeDump(ctx context.Context, w *work) (done bool) {
	d := c.face.dump
	b := c.session.bucket
	w.at = c.server.clock.Now()
	for len(w.out) < writeAt {
		if len(d.keys) == 0 {
			if c.session.bucketGone() || d.vb == b.Spec().NumVBuckets {
				w.out = d.end(w.out)
				return true
			}
			keys, err := b.KV().Keys(w.at, vbucket.ID(d.vb), docid.Default, nil, math.MaxInt)
			d.vb++
			var elsewhere *kv.NotMyVBucketError
			if err != nil && !errors.Is(err, kv.ErrNotFound) && !errors.As(err, &elsewhere) {
				line, _ := c.textError(err)
				w.out = mctext.AppendLine(w.out, line)
				return true
			}
			d.keys = keys
			continue
		}
		key := d.keys[0]
		d.keys = d.keys[1:]
		if d.short {
			w.out = appendShort(w.out, key)
			continue
		}
		p := w.plain
		p.access = kv.Access{Unseen: true}
		k := b.KV().Key(vbucket.ID(d.vb-1), docid.Default, key)
		if _, err := b.KV().Access(ctx, w.at, k, &p.access, &p.found, nil); err == nil { // else it is gone meanwhile
			w.out = appendLong(w.out, key, &p.found)
		}
	}
	return false
}

func (d *dump) end(dst []byte) []byte {
	if d.short {
		return append(dst, "EN\r\n"...)
	}
	return mctext.AppendEnd(dst)
}

// appendShort appends a command that reads the document.
func appendShort(dst, key []byte) []byte {
	dst = append(dst, "mg "...)
	if mctext.ValidKey(key) {
		dst = append(dst, key...)
	} else {
		dst = base64.StdEncoding.AppendEncode(dst, key)
		dst = append(dst, " b"...)
	}
	return append(dst, lineEnd...)
}

// appendLong appends what is known of the document.
func appendLong(dst, key []byte, f *kv.Accessed) []byte {
	dst = append(dst, "key="...)
	dst = mctext.AppendURI(dst, key)
	dst = append(dst, " exp="...)
	if f.Expiry == 0 {
		dst = append(dst, "-1"...)
	} else {
		dst = strconv.AppendUint(dst, uint64(f.Expiry), 10)
	}
	dst = append(dst, " la=0 cas="...)
	dst = strconv.AppendUint(dst, uint64(f.CAS), 10)
	dst = append(dst, " fetch="...)
	dst = append(dst, yesIf(f.Fetched)...)
	dst = append(dst, " cls=1 size="...)
	dst = strconv.AppendInt(dst, int64(itemOverhead+len(key)+f.ValueLen), 10)
	return append(dst, lineEnd...)
}
