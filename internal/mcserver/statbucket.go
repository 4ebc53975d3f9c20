package mcserver

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

func (c *conn) statUUID(_ context.Context, e *emitter, _ []string) error {
	e.put("uuid", c.session.bucket.UUID())
	return nil
}

// eachVBucket calls f for the vBuckets that args name and that this node has a copy of.
func (c *conn) eachVBucket(args []string, f func(prefix string, vb vbucket.ID, info *kv.SeqnoInfo) error) error {
	from, to, err := c.vBucketArg(args)
	if err != nil {
		return err
	}
	for vb := from; vb < to; vb++ {
		info, err := c.session.bucket.KV().Seqnos(vbucket.ID(vb))
		switch {
		case err != nil:
			return err
		case info.State == vbucket.Dead && len(args) > 0:
			return errNotMyVBucket
		case info.State == vbucket.Dead:
			continue
		}
		if err := f("vb_"+strconv.Itoa(vb), vbucket.ID(vb), &info); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) statVBucket(_ context.Context, e *emitter, args []string) error {
	return c.eachVBucket(args, func(prefix string, _ vbucket.ID, info *kv.SeqnoInfo) error {
		e.put(prefix, info.State.String())
		return nil
	})
}

func (c *conn) statVBucketDetails(_ context.Context, e *emitter, args []string) error {
	return c.eachVBucket(args, func(prefix string, vb vbucket.ID, info *kv.SeqnoInfo) error {
		e.put(prefix, info.State.String())
		e.num(prefix+":high_seqno", uint64(info.High))
		e.num(prefix+":persisted_seqno", uint64(info.Persisted))
		e.num(prefix+":purge_seqno", uint64(info.Purge))
		e.num(prefix+":uuid", uint64(info.UUID))
		e.num(prefix+":max_cas", uint64(info.MaxCAS))
		e.num(prefix+":num_items", uint64(info.Items))
		e.put(prefix+":topology", c.topology(vb))
		return nil
	})
}

// topology names the nodes that hold a vBucket, active first, in the form [["a","b"]].
func (c *conn) topology(vb vbucket.ID) string {
	chain := []string{}
	if p := c.server.current.Load(); p != nil {
		b := p.assignment.Bucket(c.session.bucket.Name())
		if b != nil && int(vb) < len(b.Rows) {
			for _, i := range b.Rows[vb].Chain {
				if i >= 0 && int(i) < len(p.assignment.Nodes) {
					chain = append(chain, p.assignment.Nodes[i].UUID)
				}
			}
		}
	}
	text, err := json.Marshal([][]string{chain})
	if err != nil {
		return "" // strings cannot fail to encode
	}
	return string(text)
}

func (c *conn) statVBucketSeqno(_ context.Context, e *emitter, args []string) error {
	return c.eachVBucket(args, func(prefix string, _ vbucket.ID, info *kv.SeqnoInfo) error {
		e.num(prefix+":high_seqno", uint64(info.High))
		e.num(prefix+":abs_high_seqno", uint64(info.High))
		e.num(prefix+":last_persisted_seqno", uint64(info.Persisted))
		e.num(prefix+":purge_seqno", uint64(info.Purge))
		e.num(prefix+":uuid", uint64(info.UUID))
		e.num(prefix+":last_persisted_snap_start", uint64(info.SnapStart))
		e.num(prefix+":last_persisted_snap_end", uint64(info.SnapEnd))
		return nil
	})
}

func (c *conn) statFailovers(_ context.Context, e *emitter, args []string) error {
	return c.eachVBucket(args, func(prefix string, vb vbucket.ID, _ *kv.SeqnoInfo) error {
		log, err := c.session.bucket.KV().FailoverLog(vb)
		if err != nil {
			return err
		}
		e.num(prefix+":num_entries", uint64(len(log)))
		for i, entry := range log {
			at := prefix + ":" + strconv.Itoa(i)
			e.num(at+":id", uint64(entry.UUID))
			e.num(at+":seq", uint64(entry.Seqno))
		}
		return nil
	})
}

// hexID is the form in which statistics show ids of scopes and collections.
func hexID(id uint32) string { return "0x" + hexUID(uint64(id)) }

func (c *conn) statCollections(_ context.Context, e *emitter, _ []string) error {
	m := c.session.bucket.Manifest()
	e.put("manifest_uid", hexUID(m.UID))
	for _, scope := range m.Scopes {
		for _, col := range scope.Collections {
			prefix := hexID(scope.ID) + ":" + hexID(col.ID)
			e.put(prefix+":name", col.Name)
			e.put(prefix+":scope_name", scope.Name)
			if col.ID == uint32(docid.Default) && only(m) {
				e.num(prefix+":items", c.session.bucket.KV().Stats().Items)
			}
		}
	}
	return nil
}

// only reports whether the default collection is the only one, so that its numbers are those of the bucket.
func only(m *spec.Manifest) bool { return len(m.Scopes) == 1 && len(m.Scopes[0].Collections) == 1 }

func (c *conn) statScopes(_ context.Context, e *emitter, _ []string) error {
	m := c.session.bucket.Manifest()
	e.put("manifest_uid", hexUID(m.UID))
	for _, scope := range m.Scopes {
		e.put(hexID(scope.ID)+":name", scope.Name)
		e.num(hexID(scope.ID)+":collections", uint64(len(scope.Collections)))
	}
	return nil
}

func (c *conn) statManifest(_ context.Context, e *emitter, _ []string) error {
	m := c.session.bucket.Manifest()
	e.put("manifest_uid", hexUID(m.UID))
	e.num("scopes", uint64(len(m.Scopes)))
	return nil
}

// statKey answers "key <key> <vb>" and "vkey <key> <vb>" for the default collection. The second form of the reference also
// compares with the disk; ours answers what memory knows, which is what the disk will have.
func (c *conn) statKey(ctx context.Context, e *emitter, args []string) error {
	if len(args) != 2 {
		return invalid("Group must be followed by a key and a vBucket")
	}
	from, to, err := c.vBucketArg(args[1:])
	if err != nil {
		return err
	}
	if len(args[0]) > mcbp.MaxKey || to-from != 1 {
		return invalid("Key length exceeds 250")
	}
	rights, err := c.rights(e.q)
	if err != nil {
		return err
	}
	if err := c.mayUse(rights, docid.Default, mcbp.NeedRead); err != nil {
		return err
	}
	b, vb := c.session.bucket.KV(), vbucket.ID(from)
	info, err := c.position(vb)
	if err != nil {
		return err
	}
	m, err := b.GetMeta(ctx, e.w.at, b.Key(vb, docid.Default, []byte(args[0])))
	if err != nil {
		return err
	}
	if m.Deleted {
		return kv.ErrNotFound
	}
	e.num("key_exptime", uint64(m.Expiry))
	e.num("key_flags", uint64(m.Flags))
	e.num("key_cas", uint64(m.CAS))
	e.num("key_last_modification_time", uint64(m.CAS)/1e9)
	e.put("key_vb_state", info.State.String())
	e.put("key_is_dirty", strconv.FormatBool(m.Seqno > info.Persisted))
	if strings.HasPrefix(string(e.q.Key), "vkey") {
		e.put("key_valid", "valid")
	}
	return nil
}

// percent formats part of whole as a whole number of percent; nothing of nothing is all.
func percent(part, whole uint64) string {
	if whole == 0 {
		return "100"
	}
	return fmt.Sprintf("%d", part*100/whole)
}
