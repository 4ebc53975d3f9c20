package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"
)

// importMark is how far an import came: every line before Line+1 is in the bucket. It is written now and then and at the
// end of an interrupted run, and removed when the import is complete.
type importMark struct {
	Kind   string `json:"kind"` // "import"
	Source string `json:"source"`
	Bucket string `json:"bucket"`
	Keys   string `json:"keys"` // the template or field, which must be the same when going on
	Line   int64  `json:"line"`
	Sum    uint64 `json:"sum"` // of the lines up to Line, to notice that the source is another one
	Docs   int64  `json:"docs"`
	Bytes  int64  `json:"bytes"`
	Failed int64  `json:"failed,omitempty"`
}

// exportMark is how far an export came: all vBuckets below Next are in the first Size bytes of the destination.
type exportMark struct {
	Kind        string `json:"kind"` // "export"
	Destination string `json:"destination"`
	Bucket      string `json:"bucket"`
	UUID        string `json:"uuid"` // of the bucket, to notice that it was dropped and made again
	Prefix      string `json:"prefix,omitempty"`
	Bare        bool   `json:"bare,omitempty"`
	Next        int    `json:"next"`
	Size        int64  `json:"size"`
	Docs        int64  `json:"docs"`
	Bytes       int64  `json:"bytes"`
}

// maxMark bounds a checkpoint file, in bytes.
const maxMark = 1 << 16

// saveMark writes a checkpoint so that a crash leaves the old one or the new one.
func saveMark(name string, mark any) error {
	content, err := json.Marshal(mark)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return writeAtomically(name, append(content, '\n'), 0o600)
}

// loadMark reads a checkpoint. Without the file it reports false.
func loadMark(name string, mark any) (bool, error) {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("checkpoint: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxMark))
	if err != nil {
		return false, fmt.Errorf("checkpoint: %w", err)
	}
	if err := json.Unmarshal(content, mark); err != nil {
		return false, fail(exitUsage, "checkpoint %s cannot be read: %w", name, err).
			do("Remove the file to begin again from the start.")
	}
	return true, nil
}

// writeAtomically writes a file under another name, makes it durable and renames it, so that readers see all or nothing.
func writeAtomically(name string, content []byte, mode os.FileMode) (err error) {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// prefixSums knows the checksum of all lines up to each one that is not finished yet, so that a checkpoint can tell later
// whether the lines before it are still the same. Lines after it may be mended. The owner locks.
type prefixSums struct {
	table *crc64.Table
	read  prefixSum   // up to the last line read
	ahead []prefixSum // of lines read and perhaps not finished, in order
	done  prefixSum   // up to the last line asked for
}

type prefixSum struct {
	line int64
	sum  uint64
}

func newPrefixSums() *prefixSums { return &prefixSums{table: crc64.MakeTable(crc64.ECMA)} }

// add takes the next line that was read.
func (p *prefixSums) add(line int64, content []byte) {
	p.read = prefixSum{line, crc64.Update(crc64.Update(p.read.sum, p.table, content), p.table, []byte{'\n'})}
	p.ahead = append(p.ahead, p.read)
}

// upTo gives the checksum of the lines up to one, which never falls from call to call.
func (p *prefixSums) upTo(line int64) uint64 {
	for len(p.ahead) > 0 && p.ahead[0].line <= line {
		p.done = p.ahead[0]
		p.ahead = p.ahead[1:]
	}
	return p.done.sum
}

// frontier knows up to which line everything is done, while lines are finished in any order. It is not safe for
// concurrent use: its owner locks.
type frontier struct {
	done  int64 // every line up to this one is finished
	ahead map[int64]bool
}

// finish notes that a line is finished and gives the new frontier.
func (f *frontier) finish(line int64) int64 {
	if f.ahead == nil {
		f.ahead = map[int64]bool{}
	}
	f.ahead[line] = true
	for f.ahead[f.done+1] {
		f.done++
		delete(f.ahead, f.done)
	}
	return f.done
}

// removeMark removes a checkpoint, if there is one.
func removeMark(name string) error {
	if name == "" {
		return nil
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}
