package storage

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// field is one field of an encoding: its size, 0 if that varies, what it holds in the example of TestGolden, and its meaning.
type field struct {
	size    int
	example string // hex; empty: not compared
	meaning string
}

// layouts describes the binary encodings. docs/formats/disk.md shows these tables.
func layouts() map[string][]field {
	u64 := func(example, meaning string) field { return field{8, example, meaning} }
	return map[string][]field{
		"seq-row": {
			{1, "01", "version, 1"},
			{1, "01", "operation: 1 mutation, 2 deletion, 3 expiration, 7 system event"},
			{1, "05", "datatype: 1 JSON, 2 Snappy, 4 extended attributes, added up"},
			{1, "03", "durability level of the write that made it, 0 to 3"},
			u64("1112131415161718", "CAS"),
			u64("2122232425262728", "revision"),
			u64("0000060708090a0b", "seqno of the version that this one replaced on this disk, 0 = none"),
			{4, "31323334", "flags"},
			{4, "41424344", "expiry in Unix seconds, 0 = none; of a deletion its time"},
			{4, "51525354", "collection id"},
			{2, "0003", "length of the key, at most 250"},
			{2, "0000", "reserved, 0"},
			{0, "6b6579", "key"},
			{0, "76616c7565", "value, as it is stored"},
			{4, "", "CRC-32C over the vBucket (u16), the seqno (u64) and all bytes before it"},
		},
		"key-row": {
			{1, "01", "version, 1"},
			{1, "01", "operation"},
			{1, "05", "datatype"},
			{1, "03", "durability level"},
			u64("1112131415161718", "CAS"),
			u64("00000a0b0c0d0e0f", "seqno: where the document row is"),
			u64("2122232425262728", "revision"),
			{4, "31323334", "flags"},
			{4, "41424344", "expiry, or time of deletion"},
			{4, "00000005", "length of the value, as it is stored"},
		},
		"state": {
			{1, "01", "version, 1"},
			{7, "00000000000000", "reserved, 0"},
			u64("0000000000000101", "high seqno: of the newest row"),
			u64("0000000000000100", "begin of the snapshot that is being written, exclusive"),
			u64("0000000000000102", "end of that snapshot; it is on disk as a whole if this is the high seqno"),
			u64("0000000000000004", "highest CAS"),
			u64("0000000000000005", "highest visible seqno (replication)"),
			u64("0000000000000006", "highest prepared seqno (replication)"),
			u64("0000000000000007", "highest completed seqno (replication)"),
			u64("0000000000000008", "highest revision of a deletion"),
			u64("0000000000000009", "number of live documents"),
			u64("000000000000000a", "bytes of their keys and values"),
			u64("000000000000000b", "accepted epoch (replication)"),
		},
	}
}

// table shows a layout as Markdown. Behind fields whose size varies, offsets are counted from the end.
func table(fields []field) string {
	var b strings.Builder
	b.WriteString("| offset | size | field |\n|---|---|---|\n")
	at, moves := 0, false
	for i, f := range fields {
		offset, size := fmt.Sprint(at), fmt.Sprint(f.size)
		if f.size == 0 {
			size = ""
		}
		if moves {
			offset = ""
			if i == len(fields)-1 {
				offset = fmt.Sprintf("end − %d", f.size)
			}
		}
		moves = moves || f.size == 0
		at += f.size
		fmt.Fprintf(&b, "| %s | %s | %s |\n", offset, size, f.meaning)
	}
	return b.String()
}

// TestLayouts holds the encoders to the layouts, and the document to both.
func TestLayouts(t *testing.T) {
	doc, err := os.ReadFile("../../docs/formats/disk.md")
	must(t, err)
	for name, fields := range layouts() {
		row := goldenRows()[name]
		for i, f := range fields {
			size := f.size
			if size == 0 {
				size = len(f.example) / 2
			}
			if got := hex.EncodeToString(row[:size]); f.example != "" && got != f.example {
				t.Errorf("%s, field %d (%s): %s, want %s", name, i, f.meaning, got, f.example)
			}
			row = row[size:]
		}
		if len(row) != 0 {
			t.Errorf("%s: %d bytes are not described", name, len(row))
		}
		if !strings.Contains(string(doc), table(fields)) {
			t.Errorf("docs/formats/disk.md does not show the table of %s:\n%s", name, table(fields))
		}
	}
	for _, row := range []string{rowFormat, rowBoot, rowCeiling, rowNextBid, rowBidPrefix, rowOwner, rowClean, rowFlushed} {
		if !strings.Contains(string(doc), "`"+row) {
			t.Errorf("docs/formats/disk.md does not name the row %s", row)
		}
	}
}
