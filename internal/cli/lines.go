package cli

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
)

// lineSource reads lines of a file or the standard input, compressed or not. It is used by one goroutine, but for position.
type lineSource struct {
	file io.ReadCloser // nil: the standard input, which is not ours to close
	size int64         // of the file, in bytes; 0 = unknown
	at   atomic.Int64  // bytes read of the file, compressed if it is
	in   *bufio.Reader
	line int64 // number of the last line given
}

const lineBuffer = 256 << 10

// errLongLine is a line of more than maxInput bytes.
var errLongLine = fmt.Errorf("the line has more than %s", size(maxInput))

// openLines opens a source; "-" is the standard input. Gzip is found by its first bytes.
func openLines(name string, stdin io.Reader) (*lineSource, error) {
	s := &lineSource{}
	raw := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			s.size = info.Size()
		}
		s.file, raw = f, f
	}
	s.in = bufio.NewReaderSize(&countingReader{raw, &s.at}, lineBuffer)
	magic, err := s.in.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, s.close())
	}
	zipped := bytes.Equal(magic, []byte{0x1f, 0x8b}) || strings.HasSuffix(name, ".gz") && len(magic) > 0
	if !zipped {
		return s, nil
	}
	unzip, err := gzip.NewReader(s.in)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), s.close())
	}
	s.in = bufio.NewReaderSize(unzip, lineBuffer)
	return s, nil
}

func (s *lineSource) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// next gives the next line that is not blank, with its number, in memory of its own. Errors: io.EOF; errLongLine, after
// which it goes on with the following line; those of the file.
func (s *lineSource) next() ([]byte, int64, error) {
	for {
		line, err := s.read()
		if len(line) == 0 && err != nil {
			return nil, s.line + 1, err
		}
		s.line++
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, s.line, err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, s.line, nil
		}
		if err != nil {
			return nil, s.line, err
		}
	}
}

// read gives the bytes up to the end of the line.
func (s *lineSource) read() ([]byte, error) {
	var line []byte
	for {
		part, err := s.in.ReadSlice('\n')
		if len(line)+len(part) > maxInput {
			return line, s.discard(err)
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// discard drops the rest of a line that is too long.
func (s *lineSource) discard(err error) error {
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = s.in.ReadSlice('\n')
	}
	if err == nil || errors.Is(err, io.EOF) {
		return errLongLine
	}
	return err
}

// countingReader counts what is read through it.
type countingReader struct {
	r io.Reader
	n *atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}
