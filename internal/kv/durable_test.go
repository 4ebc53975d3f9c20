package kv

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// TestWaiters lets durable writes wait, in another order than their seqnos, and moves the persisted seqno: each write is let
// go when its own seqno is reached, the one that nobody reaches when its time is over.
func TestWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := openKit(t)
		vb := &k.vbs[0]
		var writes []Written
		for range 4 {
			writes = append(writes, k.set("x", "1"))
		}
		var group sync.WaitGroup
		results := make([]error, len(writes))
		ended := make([]time.Duration, len(writes))
		begun := time.Now()
		for _, i := range []int{2, 0, 3, 1} {
			group.Go(func() {
				results[i] = k.await(t.Context(), vb, &writes[i], spec.PersistToMajority, 10*time.Second)
				ended[i] = time.Since(begun)
			})
			synctest.Wait()
		}
		if n := k.Stats().Waiting; n != 4 {
			t.Errorf("%d writes wait, want 4", n)
		}
		for _, to := range []vbucket.Seqno{1, 3, 2} {
			time.Sleep(time.Second)
			vb.setPersisted(k.Bucket, to)
			synctest.Wait()
		}
		group.Wait()
		want := []time.Duration{time.Second, 2 * time.Second, 2 * time.Second, 10 * time.Second}
		for i := range writes {
			wantErr := error(nil)
			if i == 3 {
				wantErr = ErrDurabilityAmbiguous
			}
			if !errors.Is(results[i], wantErr) || ended[i] != want[i] {
				t.Errorf("write %d: %v after %v, want %v after %v", i, results[i], ended[i], wantErr, want[i])
			}
		}
		if vb.persisted.Load() != 3 || len(vb.mu.waiters) != 0 {
			t.Errorf("persisted %d, %d writes wait still", vb.persisted.Load(), len(vb.mu.waiters))
		}
		k.wantErr(k.await(t.Context(), vb, &writes[0], spec.PersistToMajority, 0), nil) // done before
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		k.wantErr(k.await(ctx, vb, &writes[3], spec.PersistToMajority, 0), ErrDurabilityAmbiguous)
		group.Go(func() {
			k.wantErr(k.await(t.Context(), vb, &writes[3], spec.PersistToMajority, 0), ErrDurabilityAmbiguous)
		})
		synctest.Wait()
		k.wantErr(k.Flush(1), nil)
		group.Wait()
		k.wantErr(k.await(t.Context(), vb, &writes[3], spec.PersistToMajority, 0), ErrDurabilityAmbiguous) // another history
		k.wantErr(k.Close(), nil)
	})
}
