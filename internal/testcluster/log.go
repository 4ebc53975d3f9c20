package testcluster

import (
	"bytes"
	"sync"
)

// logBytes bounds what is kept of the nodes' log.
const logBytes = 64 << 10

// tail keeps the end of what is written to it, in whole lines.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer; it cannot fail.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - logBytes; over > 0 {
		cut := over
		if end := bytes.IndexByte(t.buf[over:], '\n'); end >= 0 {
			cut += end + 1
		}
		t.buf = append([]byte(nil), t.buf[cut:]...)
	}
	return len(p), nil
}

// String gives what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
