package cli

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
)

// feed gives the documents to the workers until the source ends.
func (l *loader) feed(ctx context.Context, queues []chan load) error {
	seed := maphash.MakeSeed()
	last := l.mu.frontier.done // nobody else runs yet
	for {
		d, err := l.next()
		var bad *lineError
		if errors.As(err, &bad) {
			d.line = bad.line
		}
		if err == nil || bad != nil {
			l.pass(last+1, d.line)
			last = d.line
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case bad != nil:
			if err := l.fault(bad); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		select {
		case queues[maphash.String(seed, d.key)%uint64(len(queues))] <- d:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pass notes that the lines from one up to another, that one excluded, hold nothing.
func (l *loader) pass(from, to int64) {
	if from == to {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := from; line < to; line++ {
		l.mu.Line = l.mu.frontier.finish(line)
	}
}
