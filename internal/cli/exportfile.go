package cli

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// exportFile is a destination: a file or a stream, compressed or not. It belongs to one goroutine. Compressed files are a
// row of gzip members, one from each checkpoint to the next, which every reader takes for one stream.
type exportFile struct {
	f     *os.File // nil: a stream
	under *bufio.Writer
	count *countingWriter
	zip   *gzip.Writer // nil: not compressed
	dirty bool         // something was written since the last sync
}

// countingWriter knows how many bytes have reached the file.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// newExportFile writes to w, which is f if that is a file; size bytes are there already.
func newExportFile(f *os.File, w io.Writer, zip bool, size int64) *exportFile {
	e := &exportFile{f: f, count: &countingWriter{w, size}}
	e.under = bufio.NewWriterSize(e.count, lineBuffer)
	if zip {
		e.zip = gzip.NewWriter(e.under)
	}
	return e
}

// continueExportFile opens a file and cuts it where its last checkpoint was.
func continueExportFile(name string, size int64) (*exportFile, error) {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("go on with an export: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() < size {
		err = fail(exitConflict, "%s is shorter than its checkpoint says", name).do("Add --force to begin anew.")
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return newExportFile(f, f, strings.HasSuffix(name, ".gz"), size), nil
}

// Write writes a line.
func (e *exportFile) Write(p []byte) (int, error) {
	e.dirty = true
	if e.zip != nil {
		return e.zip.Write(p)
	}
	return e.under.Write(p)
}

// flush hands everything over to the operating system and ends the present gzip member.
func (e *exportFile) flush() error {
	if e.zip != nil && e.dirty {
		if err := e.zip.Close(); err != nil {
			return err
		}
		e.zip.Reset(e.under)
	}
	e.dirty = false
	return e.under.Flush()
}

// sync makes what was written durable and gives the size of the file.
func (e *exportFile) sync() (int64, error) {
	err := e.flush()
	if err == nil && e.f != nil {
		err = e.f.Sync()
	}
	return e.count.n, err
}

// close ends the file; a stream is not closed.
func (e *exportFile) close() error {
	_, err := e.sync()
	if e.f != nil {
		err = errors.Join(err, e.f.Close())
	}
	return err
}
