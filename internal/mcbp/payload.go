package mcbp

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// CounterNoCreate as a counter's expiry means: do not create a missing document.
const CounterNoCreate uint32 = 0xffffffff

// NoBucketName is the name that SELECT_BUCKET takes to leave the bucket.
const NoBucketName = "@no bucket@"

// StoreExtras are the extras of SET, ADD and REPLACE.
type StoreExtras struct{ Flags, Expiry uint32 }

// Append appends the extras.
func (e StoreExtras) Append(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, e.Flags), e.Expiry)
}

// ParseStoreExtras reads 8 bytes of extras.
func ParseStoreExtras(b []byte) StoreExtras {
	return StoreExtras{Flags: binary.BigEndian.Uint32(b), Expiry: binary.BigEndian.Uint32(b[4:])}
}

// CounterExtras are the extras of INCR and DECR.
type CounterExtras struct {
	Delta, Initial uint64
	Expiry         uint32 // CounterNoCreate: fail if the document is missing
}

// Append appends the extras.
func (e CounterExtras) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, e.Delta)
	dst = binary.BigEndian.AppendUint64(dst, e.Initial)
	return binary.BigEndian.AppendUint32(dst, e.Expiry)
}

// ParseCounterExtras reads 20 bytes of extras.
func ParseCounterExtras(b []byte) CounterExtras {
	return CounterExtras{
		Delta: binary.BigEndian.Uint64(b), Initial: binary.BigEndian.Uint64(b[8:]), Expiry: binary.BigEndian.Uint32(b[16:]),
	}
}

// Token names the change that a mutation made: the branch of the vBucket's history and the sequence number on it. It is in
// the extras of replies to mutations on connections that negotiated mutation tokens.
type Token struct{ UUID, Seqno uint64 }

// CollectionIDLen is the size of the extras that carry a manifest's UID and an id of a collection or scope.
const CollectionIDLen = 12

// TokenLen is the size of a token in bytes.
const TokenLen = 16

// Append appends the 16 bytes of a token.
func (t Token) Append(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, t.UUID), t.Seqno)
}

// ParseToken reads the extras of a mutation's reply; ok is false if they hold no token.
func ParseToken(extras []byte) (t Token, ok bool) {
	if len(extras) != TokenLen {
		return Token{}, false
	}
	return Token{UUID: binary.BigEndian.Uint64(extras), Seqno: binary.BigEndian.Uint64(extras[8:])}, true
}

// DocMeta is what GET_META answers in its extras.
type DocMeta struct {
	Deleted  bool
	Flags    uint32
	Expiry   uint32 // Unix seconds, 0 = none
	Rev      uint64
	Datatype uint8 // only in the long form
}

// Append appends the 20 bytes of the short form, or the 21 of the long form.
func (m *DocMeta) Append(dst []byte, long bool) []byte {
	var deleted uint32
	if m.Deleted {
		deleted = 1
	}
	dst = binary.BigEndian.AppendUint32(dst, deleted)
	dst = binary.BigEndian.AppendUint32(dst, m.Flags)
	dst = binary.BigEndian.AppendUint32(dst, m.Expiry)
	dst = binary.BigEndian.AppendUint64(dst, m.Rev)
	if long {
		dst = append(dst, m.Datatype)
	}
	return dst
}

// ParseDocMeta reads the extras of a GET_META reply; ok is false if they have neither form.
func ParseDocMeta(b []byte) (m DocMeta, ok bool) {
	if len(b) != 20 && len(b) != 21 {
		return DocMeta{}, false
	}
	m = DocMeta{
		Deleted: binary.BigEndian.Uint32(b) == 1,
		Flags:   binary.BigEndian.Uint32(b[4:]),
		Expiry:  binary.BigEndian.Uint32(b[8:]),
		Rev:     binary.BigEndian.Uint64(b[12:]),
	}
	if len(b) == 21 {
		m.Datatype = b[20]
	}
	return m, true
}

// ConfigVersion is the version of a cluster configuration, as requests for one and pushes of one carry it.
type ConfigVersion struct{ Epoch, Rev int64 }

// Newer reports whether v supersedes other.
func (v ConfigVersion) Newer(other ConfigVersion) bool {
	return v.Epoch > other.Epoch || v.Epoch == other.Epoch && v.Rev > other.Rev
}

// ConfigVersionLen is the size of a ConfigVersion in bytes.
const ConfigVersionLen = 16

// Append appends the 16 bytes of a version.
func (v ConfigVersion) Append(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(v.Epoch)), uint64(v.Rev))
}

// ParseConfigVersion reads 16 bytes; ok is false for another length.
func ParseConfigVersion(b []byte) (v ConfigVersion, ok bool) {
	if len(b) != ConfigVersionLen {
		return ConfigVersion{}, false
	}
	return ConfigVersion{
		Epoch: int64(binary.BigEndian.Uint64(b)), Rev: int64(binary.BigEndian.Uint64(b[8:])),
	}, true
}

// ErrorBody is the JSON value of an unsuccessful reply (wire.md 3.6).
type ErrorBody struct {
	Context     string  // what went wrong, for people; may be empty
	Ref         string  // names the line in the server's log; may be empty
	ManifestUID *uint64 // of the collections manifest in which something was not found
}

// Append appends the JSON form, or nothing if there is nothing to say.
func (e *ErrorBody) Append(dst []byte) []byte {
	if e.Context == "" && e.Ref == "" && e.ManifestUID == nil {
		return dst
	}
	dst = append(dst, '{')
	if e.ManifestUID != nil {
		dst = append(dst, `"manifest_uid":"`...)
		dst = strconv.AppendUint(dst, *e.ManifestUID, 16)
		dst = append(dst, '"')
	}
	if e.Context == "" && e.Ref == "" {
		return append(dst, '}')
	}
	if e.ManifestUID != nil {
		dst = append(dst, ',')
	}
	dst = append(dst, `"error":{`...)
	if e.Context != "" {
		dst = appendJSONString(append(dst, `"context":`...), e.Context)
	}
	if e.Ref != "" {
		if e.Context != "" {
			dst = append(dst, ',')
		}
		dst = appendJSONString(append(dst, `"ref":`...), e.Ref)
	}
	return append(dst, "}}"...)
}

// ParseErrorBody reads the value of an unsuccessful reply; ok is false if it is not such a body.
func ParseErrorBody(value []byte) (e ErrorBody, ok bool) {
	var doc struct {
		Error       struct{ Context, Ref string } `json:"error"`
		ManifestUID *string                       `json:"manifest_uid"`
	}
	if len(value) == 0 || json.Unmarshal(value, &doc) != nil {
		return ErrorBody{}, false
	}
	e = ErrorBody{Context: doc.Error.Context, Ref: doc.Error.Ref}
	if doc.ManifestUID != nil {
		uid, err := strconv.ParseUint(*doc.ManifestUID, 16, 64)
		if err != nil {
			return ErrorBody{}, false
		}
		e.ManifestUID = &uid
	}
	return e, true
}

// appendJSONString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
