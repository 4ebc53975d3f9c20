package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// maxRemembered is how many transactions a watcher may lie behind.
const maxRemembered = 256

// Memory is a Store that forgets everything at the end of the process.
type Memory struct {
	// turn holds one token: who has it carries out a transaction. It is held while the state is made durable; readers never
	// need it.
	turn chan struct{}
	// persist makes a state durable before it is published; nil keeps it in memory only. Called by the holder of turn.
	persist func(state) error
	mu      struct {
		sync.Mutex
		state
		batches []Batch       // the last transactions, oldest first
		moved   chan struct{} // closed and replaced at each transaction and at Close
		closed  bool
	}
}

// state is a whole store at one revision. entries is never changed once it is published: a transaction makes another map.
type state struct {
	revision Revision
	entries  map[string]Entry
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return newMemory(state{entries: map[string]Entry{}}, nil) }

func newMemory(s state, persist func(state) error) *Memory {
	m := &Memory{turn: make(chan struct{}, 1), persist: persist}
	m.turn <- struct{}{}
	m.mu.state = s
	m.mu.moved = make(chan struct{})
	return m
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, key string) (Entry, error) {
	s, err := m.read()
	if err != nil {
		return Entry{}, err
	}
	e, ok := s.entries[key]
	if !ok {
		return Entry{}, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	return e, nil
}

// List implements Store.
func (m *Memory) List(_ context.Context, prefix string) ([]Entry, Revision, error) {
	s, err := m.read()
	if err != nil {
		return nil, 0, err
	}
	var out []Entry
	for key, e := range s.entries {
		if strings.HasPrefix(key, prefix) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	return out, s.revision, nil
}

func (m *Memory) read() (state, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return state{}, ErrClosed
	}
	return m.mu.state, nil
}

// Txn implements Store.
func (m *Memory) Txn(ctx context.Context, t Txn) (Revision, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	select {
	case <-m.turn:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { m.turn <- struct{}{} }()
	old, err := m.read()
	if err != nil {
		return 0, err
	}
	for _, c := range t.If {
		if have := old.entries[c.Key].Modified; have != c.Modified {
			return 0, fmt.Errorf("%s is at revision %d, not %d: %w", c.Key, have, c.Modified, ErrConflict)
		}
	}
	next, batch := old.with(t)
	if m.persist != nil {
		if err := m.persist(next); err != nil {
			return 0, err
		}
	}
	return next.revision, m.publish(next, batch)
}

// with gives the state after a transaction.
func (s state) with(t Txn) (state, Batch) {
	next := state{revision: s.revision + 1, entries: maps.Clone(s.entries)}
	batch := Batch{Revision: next.revision}
	for _, p := range t.Puts {
		e := Entry{Key: p.Key, Value: bytes.Clone(p.Value), Created: next.revision, Modified: next.revision}
		if was, ok := s.entries[p.Key]; ok {
			e.Created = was.Created
		}
		next.entries[p.Key] = e
		batch.Changes = append(batch.Changes, Change{Entry: e})
	}
	for _, key := range t.Delete {
		if was, ok := s.entries[key]; ok {
			delete(next.entries, key)
			gone := Entry{Key: key, Created: was.Created, Modified: next.revision}
			batch.Changes = append(batch.Changes, Change{Entry: gone, Deleted: true})
		}
	}
	slices.SortFunc(batch.Changes, func(a, b Change) int { return cmp.Compare(a.Key, b.Key) })
	return next, batch
}

func (m *Memory) publish(next state, batch Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return ErrClosed
	}
	m.mu.state = next
	if len(m.mu.batches) == maxRemembered {
		m.mu.batches = append(m.mu.batches[:0:0], m.mu.batches[maxRemembered/2:]...)
	}
	m.mu.batches = append(m.mu.batches, batch)
	close(m.mu.moved)
	m.mu.moved = make(chan struct{})
	return nil
}

// Close implements Store. It waits for a transaction that is under way.
func (m *Memory) Close() error {
	<-m.turn
	defer func() { m.turn <- struct{}{} }()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.mu.closed {
		m.mu.closed = true
		close(m.mu.moved)
		m.mu.moved = make(chan struct{})
	}
	return nil
}

// Watch implements Store.
func (m *Memory) Watch(_ context.Context, prefix string, after Revision) (Watcher, error) {
	w := &memoryWatcher{store: m, prefix: prefix, after: after}
	if _, _, err := w.poll(); err != nil {
		return nil, err
	}
	w.after = after // what poll has found is found again
	return w, nil
}

type memoryWatcher struct {
	store  *Memory
	prefix string
	after  Revision // handed out or passed over up to here
}

// Next implements Watcher.
func (w *memoryWatcher) Next(ctx context.Context) (Batch, error) {
	for {
		batch, moved, err := w.poll()
		if err != nil || moved == nil {
			return batch, err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return Batch{}, context.Cause(ctx)
		}
	}
}

// poll gives the next batch that matters, or the channel that is closed when there may be one.
func (w *memoryWatcher) poll() (Batch, <-chan struct{}, error) {
	m := w.store
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return Batch{}, nil, ErrClosed
	}
	first := m.mu.revision - Revision(len(m.mu.batches)) + 1 // of the remembered ones; one above revision if there is none
	if w.after+1 < first {
		return Batch{}, nil, fmt.Errorf("after revision %d: %w", w.after, ErrCompacted)
	}
	for w.after < m.mu.revision {
		w.after++
		if batch, ok := m.mu.batches[w.after-first].under(w.prefix); ok {
			return batch, nil, nil
		}
	}
	return Batch{}, m.mu.moved, nil
}

// under gives the part of a batch that touches a prefix.
func (b Batch) under(prefix string) (Batch, bool) {
	out := Batch{Revision: b.Revision}
	for _, c := range b.Changes {
		if strings.HasPrefix(c.Key, prefix) {
			out.Changes = append(out.Changes, c)
		}
	}
	return out, len(out.Changes) > 0
}
