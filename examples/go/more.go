package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/couchbase/gocb/v2"
)

// counters count up and down.
func counters(s *session) error {
	b := s.docs.Binary()
	_, missing := b.Increment(s.key("counter"), &gocb.IncrementOptions{Delta: 1, Initial: -1})
	if err := want(gocb.ErrDocumentNotFound, missing); err != nil {
		return fmt.Errorf("without an initial value: %w", err)
	}
	for i, step := range []struct {
		down           bool
		delta, initial uint64
		want           uint64
	}{
		{false, 5, 10, 10}, // made: the initial value counts, not the delta
		{false, 5, 10, 15},
		{true, 3, 0, 12},
		{true, 100, 0, 0},                // never below zero
		{false, 1<<64 - 1, 0, 1<<64 - 1}, // the largest
		{false, 2, 0, 1},                 // and around
		{true, 1, 0, 0},
		{false, 10, 0, 10},
		{true, 1, 0, 9}, // the number of digits shrinks
	} {
		var result *gocb.CounterResult
		var err error
		if step.down {
			result, err = b.Decrement(s.key("counter"), &gocb.DecrementOptions{Delta: step.delta, Initial: int64(step.initial)})
		} else {
			result, err = b.Increment(s.key("counter"), &gocb.IncrementOptions{Delta: step.delta, Initial: int64(step.initial)})
		}
		if err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		if result.Content() != step.want || result.Cas() == 0 {
			return fmt.Errorf("step %d: %d with CAS %d, want %d", i+1, result.Content(), result.Cas(), step.want)
		}
	}
	var n int
	result, err := s.docs.Get(s.key("counter"), nil)
	if err != nil {
		return err
	}
	if err := result.Content(&n); err != nil || n != 9 {
		return fmt.Errorf("read as a document the counter is %d: %v", n, err)
	}
	if _, err := s.docs.Upsert(s.key("counter"), object{"no": "number"}, nil); err != nil {
		return err
	}
	_, up := b.Increment(s.key("counter"), &gocb.IncrementOptions{Delta: 1})
	_, down := b.Decrement(s.key("counter"), &gocb.DecrementOptions{Delta: 1})
	return first(want(gocb.ErrDeltaInvalid, up), want(gocb.ErrDeltaInvalid, down), s.drop("counter"))
}

// appending adds bytes at the ends of a document.
func appending(s *session) error {
	b, raw := s.docs.Binary(), gocb.NewRawBinaryTranscoder()
	// The SDK has no name of its own for NOT_STORED, so the status is looked at.
	_, err := b.Append(s.key("log"), []byte("x"), nil)
	if err := wantNotStored(err); err != nil {
		return fmt.Errorf("append to nothing: %w", err)
	}
	_, err = b.Prepend(s.key("log"), []byte("x"), nil)
	if err := wantNotStored(err); err != nil {
		return fmt.Errorf("prepend to nothing: %w", err)
	}
	made, err := s.docs.Insert(s.key("log"), []byte("middle"), &gocb.InsertOptions{Transcoder: raw})
	if err != nil {
		return err
	}
	after, err := b.Append(s.key("log"), []byte(" end"), &gocb.AppendOptions{Cas: made.Cas()})
	if err != nil {
		return err
	}
	_, stale := b.Append(s.key("log"), []byte("!"), &gocb.AppendOptions{Cas: made.Cas()})
	_, staleToo := b.Prepend(s.key("log"), []byte("!"), &gocb.PrependOptions{Cas: made.Cas()})
	if _, err := b.Prepend(s.key("log"), []byte("begin "), &gocb.PrependOptions{Cas: after.Cas()}); err != nil {
		return err
	}
	result, err := s.docs.Get(s.key("log"), &gocb.GetOptions{Transcoder: raw})
	if err != nil {
		return err
	}
	var got []byte
	if err := result.Content(&got); err != nil || string(got) != "begin middle end" {
		return fmt.Errorf("the document is %q: %v", got, err)
	}
	_, large := b.Append(s.key("log"), bytes.Repeat([]byte("x"), 20<<20), &gocb.AppendOptions{Timeout: 20 * time.Second})
	return first(
		want(gocb.ErrCasMismatch, stale), want(gocb.ErrCasMismatch, staleToo), want(gocb.ErrValueTooLarge, large), s.drop("log"),
	)
}

// wantNotStored checks for the status of an append to a document that does not exist.
func wantNotStored(err error) error {
	var kv *gocb.KeyValueError
	if errors.As(err, &kv) && kv.StatusCode == 0x05 {
		return nil
	}
	return fmt.Errorf("got error %v, want one with status NOT_STORED", err)
}

// touch gives documents a time to live, and takes it away.
func touch(s *session) error {
	_, missing := s.docs.Touch(s.key("touch"), time.Hour, nil)
	_, missingToo := s.docs.GetAndTouch(s.key("touch"), time.Hour, nil)
	if err := first(want(gocb.ErrDocumentNotFound, missing), want(gocb.ErrDocumentNotFound, missingToo)); err != nil {
		return err
	}
	made, err := s.docs.Insert(s.key("short"), object{"t": 1}, &gocb.InsertOptions{Expiry: 3 * time.Second})
	if err != nil {
		return err
	}
	for _, name := range []string{"kept", "touched", "got", "preserved", "replaced"} {
		if _, err := s.docs.Insert(s.key(name), object{"t": 1}, &gocb.InsertOptions{Expiry: 3 * time.Second}); err != nil {
			return err
		}
	}
	if _, err := s.docs.Insert(s.key("late"), object{"t": 1}, nil); err != nil {
		return err
	}
	if cas, err := s.holds("short", object{"t": 1}); err != nil || cas != made.Cas() {
		return fmt.Errorf("before its end: CAS %d of %d, %v", cas, made.Cas(), err)
	}
	// These outlive the three seconds …
	if _, err := s.docs.Touch(s.key("touched"), time.Hour, nil); err != nil {
		return err
	}
	if _, err := s.docs.GetAndTouch(s.key("got"), 0, nil); err != nil {
		return err
	}
	if _, err := s.docs.Upsert(s.key("replaced"), object{"t": 2}, nil); err != nil {
		return err
	}
	// … and these do not.
	if _, err := s.docs.Upsert(s.key("preserved"), object{"t": 2}, &gocb.UpsertOptions{PreserveExpiry: true}); err != nil {
		return err
	}
	if _, err := s.docs.Touch(s.key("late"), 3*time.Second, nil); err != nil {
		return err
	}
	for _, name := range []string{"short", "kept", "preserved", "late"} {
		if err := s.vanishes(name, 10*time.Second); err != nil {
			return err
		}
	}
	if _, err := s.docs.Insert(s.key("short"), object{}, nil); err != nil {
		return fmt.Errorf("insert after the end: %w", err)
	}
	_, touched := s.holds("touched", object{"t": 1.0})
	_, got := s.holds("got", object{"t": 1.0})
	_, replaced := s.holds("replaced", object{"t": 2.0})
	return first(touched, got, replaced, s.drop("short", "touched", "got", "replaced"))
}

// locks keep other writers away for a while.
func locks(s *session) error {
	_, err := s.docs.GetAndLock(s.key("lock"), 10*time.Second, nil)
	if err := want(gocb.ErrDocumentNotFound, err); err != nil {
		return err
	}
	if err := want(gocb.ErrDocumentNotFound, s.docs.Unlock(s.key("lock"), 1, nil)); err != nil {
		return fmt.Errorf("unlock of nothing: %w", err)
	}
	made, err := s.docs.Insert(s.key("lock"), object{"v": 1}, nil)
	if err != nil {
		return err
	}
	if err := want(gocb.ErrDocumentNotLocked, s.docs.Unlock(s.key("lock"), made.Cas(), nil)); err != nil {
		return fmt.Errorf("unlock of an unlocked document: %w", err)
	}
	locked, err := s.docs.GetAndLock(s.key("lock"), 20*time.Second, nil)
	if err != nil {
		return err
	}
	if locked.Cas() == made.Cas() {
		return errors.New("the lock has the CAS of the document")
	}
	if err := s.lockedOut(made.Cas()); err != nil {
		return err
	}
	if _, err := s.docs.Replace(s.key("lock"), object{"v": 2}, &gocb.ReplaceOptions{Cas: locked.Cas()}); err != nil {
		return fmt.Errorf("replace by the holder: %w", err)
	}
	if _, err := s.docs.Upsert(s.key("lock"), object{"v": 3}, nil); err != nil {
		return fmt.Errorf("the holder's write did not release the lock: %w", err)
	}
	if locked, err = s.docs.GetAndLock(s.key("lock"), 20*time.Second, nil); err != nil {
		return err
	}
	if err := s.docs.Unlock(s.key("lock"), locked.Cas(), nil); err != nil {
		return err
	}
	if _, err := s.docs.Upsert(s.key("lock"), object{"v": 4}, nil); err != nil {
		return fmt.Errorf("after unlock: %w", err)
	}
	if _, err := s.docs.GetAndLock(s.key("lock"), time.Second, nil); err != nil {
		return err
	}
	// The SDK tries again until the lock has ended by itself.
	if _, err := s.docs.Upsert(s.key("lock"), object{"v": 5}, &gocb.UpsertOptions{Timeout: 10 * time.Second}); err != nil {
		return fmt.Errorf("after the end of the lock: %w", err)
	}
	return s.drop("lock")
}

// lockedOut tries everything that a lock must keep away.
func (s *session) lockedOut(other gocb.Cas) error {
	key, now := s.key("lock"), impatient{}
	_, upsert := s.docs.Upsert(key, object{}, &gocb.UpsertOptions{RetryStrategy: now})
	_, replace := s.docs.Replace(key, object{}, &gocb.ReplaceOptions{RetryStrategy: now, Cas: other})
	_, remove := s.docs.Remove(key, &gocb.RemoveOptions{RetryStrategy: now})
	_, touch := s.docs.Touch(key, time.Hour, &gocb.TouchOptions{RetryStrategy: now})
	_, lock := s.docs.GetAndLock(key, time.Second, &gocb.GetAndLockOptions{RetryStrategy: now})
	_, add := s.docs.Binary().Append(key, []byte("x"), &gocb.AppendOptions{RetryStrategy: now})
	_, count := s.docs.Binary().Increment(key, &gocb.IncrementOptions{RetryStrategy: now})
	for i, err := range []error{upsert, replace, remove, touch, lock, add, count} {
		if err := want(gocb.ErrDocumentLocked, err); err != nil {
			return fmt.Errorf("attempt %d on a locked document: %w", i+1, err)
		}
	}
	_, patient := s.docs.Upsert(key, object{}, &gocb.UpsertOptions{Timeout: 300 * time.Millisecond})
	_, insert := s.docs.Insert(key, object{}, nil)
	_, read := s.holds("lock", object{"v": 1.0})
	return first(
		want(gocb.ErrTimeout, patient), want(gocb.ErrDocumentExists, insert), read,
		want(gocb.ErrCasMismatch, s.docs.Unlock(key, other, &gocb.UnlockOptions{RetryStrategy: now})),
	)
}

// bulk sends many operations at once; each has its own result.
func bulk(s *session) error {
	const n = 1000
	name := func(i int) string { return s.key(fmt.Sprintf("bulk-%d", i)) }
	inserts := make([]gocb.BulkOp, n)
	for i := range inserts {
		inserts[i] = &gocb.InsertOp{ID: name(i), Value: object{"i": i}}
	}
	if err := s.docs.Do(inserts, nil); err != nil {
		return err
	}
	mixed := make([]gocb.BulkOp, 0, n+2)
	for i := range n {
		if err := inserts[i].(*gocb.InsertOp).Err; err != nil {
			return fmt.Errorf("insert %d: %w", i, err)
		}
		mixed = append(mixed, &gocb.GetOp{ID: name(i)})
	}
	missing, twice := &gocb.GetOp{ID: name(n)}, &gocb.InsertOp{ID: name(0), Value: object{}}
	if err := s.docs.Do(append(mixed, missing, twice), nil); err != nil {
		return err
	}
	removes := make([]gocb.BulkOp, n)
	for i := range n {
		op := mixed[i].(*gocb.GetOp)
		var got struct{ I int }
		if op.Err != nil {
			return fmt.Errorf("get %d: %w", i, op.Err)
		}
		if err := op.Result.Content(&got); err != nil || got.I != i {
			return fmt.Errorf("document %d holds %+v: %v", i, got, err)
		}
		removes[i] = &gocb.RemoveOp{ID: name(i), Cas: op.Result.Cas()}
	}
	if err := s.docs.Do(removes, nil); err != nil {
		return err
	}
	for i, op := range removes {
		if err := op.(*gocb.RemoveOp).Err; err != nil {
			return fmt.Errorf("remove %d: %w", i, err)
		}
	}
	return first(want(gocb.ErrDocumentNotFound, missing.Err), want(gocb.ErrDocumentExists, twice.Err))
}

// durable asks for writes that are safe before they are answered.
func durable(s *session) error {
	onDisk := error(nil)
	if s.ephemeral { // a bucket without a disk cannot promise it
		onDisk = gocb.ErrDurabilityLevelNotAvailable
	}
	for _, level := range []struct {
		level gocb.DurabilityLevel
		want  error
	}{
		{gocb.DurabilityLevelMajority, nil},
		{gocb.DurabilityLevelMajorityAndPersistOnMaster, onDisk},
		{gocb.DurabilityLevelPersistToMajority, onDisk},
	} {
		if err := s.durableWrites(level.level, level.want); err != nil {
			return fmt.Errorf("level %d: %w", level.level, err)
		}
	}
	if s.ephemeral {
		return nil
	}
	// The older form: the SDK asks until the write is on disk.
	if _, err := s.docs.Upsert(s.key("observed"), object{"v": 1}, &gocb.UpsertOptions{PersistTo: 1}); err != nil {
		return fmt.Errorf("PersistTo 1: %w", err)
	}
	_, none := s.docs.Upsert(s.key("observed"), object{"v": 1}, &gocb.UpsertOptions{ReplicateTo: 1})
	return first(want(gocb.ErrDurabilityImpossible, none), s.drop("observed"))
}

// durableWrites does each kind of write at a level and wants the same outcome of all; errors of the document come first.
func (s *session) durableWrites(level gocb.DurabilityLevel, outcome error) error {
	key := s.key("durable")
	_, insert := s.docs.Insert(key, 1, &gocb.InsertOptions{DurabilityLevel: level})
	if outcome != nil { // the rest needs a document
		if _, err := s.docs.Insert(key, 1, nil); err != nil {
			return err
		}
	}
	_, upsert := s.docs.Upsert(key, 2, &gocb.UpsertOptions{DurabilityLevel: level})
	_, replace := s.docs.Replace(key, 3, &gocb.ReplaceOptions{DurabilityLevel: level})
	_, count := s.docs.Binary().Increment(key, &gocb.IncrementOptions{Delta: 1, DurabilityLevel: level})
	_, add := s.docs.Binary().Append(key, []byte("0"), &gocb.AppendOptions{DurabilityLevel: level})
	_, prepend := s.docs.Binary().Prepend(key, []byte("1"), &gocb.PrependOptions{DurabilityLevel: level})
	_, remove := s.docs.Remove(key, &gocb.RemoveOptions{DurabilityLevel: level})
	err := first(
		want(outcome, insert), want(outcome, upsert), want(outcome, replace), want(outcome, count),
		want(outcome, add), want(outcome, prepend), want(outcome, remove),
	)
	if outcome != nil {
		return errors.Join(err, s.drop("durable"))
	}
	if err != nil {
		return err
	}
	_, missing := s.docs.Replace(key, 1, &gocb.ReplaceOptions{DurabilityLevel: level})
	made, err := s.docs.Insert(key, 1, &gocb.InsertOptions{DurabilityLevel: level})
	if err != nil {
		return err
	}
	_, twice := s.docs.Insert(key, 1, &gocb.InsertOptions{DurabilityLevel: level})
	_, stale := s.docs.Replace(key, 1, &gocb.ReplaceOptions{DurabilityLevel: level, Cas: made.Cas() + 1})
	return first(
		want(gocb.ErrDocumentNotFound, missing), want(gocb.ErrDocumentExists, twice), want(gocb.ErrCasMismatch, stale), s.drop("durable"),
	)
}
