package trace

import (
	"strconv"
	"time"
)

// Record is one fire of a probe, as a sink sees it. It belongs to the shard: a sink copies what it wants to keep.
type Record struct {
	Probe  ID
	Node   *Node
	Values [MaxFields]int64 // by index of the field; a Text, an enum and a bool as numbers
	Key    Key              // of the field of TypeKey, if there is one; lent for the call
}

// Value gives a field by name, 0 if the probe has none of that name.
func (r *Record) Value(field string) int64 {
	if i := r.Probe.Probe().Field(field); i >= 0 {
		return r.Values[i]
	}
	return 0
}

// Duration gives a field of TypeDur by name.
func (r *Record) Duration(field string) time.Duration { return time.Duration(r.Value(field)) }

// Text gives a field as text, as an answer shows it: names of enums and texts, numbers in base units. What has to be hidden
// is hidden by hide; nil shows everything.
func (r *Record) Text(field string, hide *Redactor) string {
	p := r.Probe.Probe()
	i := p.Field(field)
	if i < 0 {
		return ""
	}
	f, v := &p.Fields[i], r.Values[i]
	switch f.Type {
	case TypeEnum:
		return nameOf(enumeration(f.Enum).Values, uint8(v))
	case TypeText:
		text := r.Node.TextOf(Text(v))
		if f.Redact {
			return hide.Text(text)
		}
		return text
	case TypeKey:
		return hide.Key(r.Key)
	case TypeID:
		return strconv.FormatUint(uint64(v), 16)
	case TypeBool:
		return strconv.FormatBool(v != 0)
	default:
		return strconv.FormatInt(v, 10)
	}
}

// oneIf is a bool as a Record has it.
func oneIf(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
