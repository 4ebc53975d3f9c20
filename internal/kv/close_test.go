package kv

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// TestCloseUnderLoad closes buckets while clients and a reader use them, and lets the collector take them away: everybody
// ends with ErrClosed, and nobody touches memory that is gone.
func TestCloseUnderLoad(t *testing.T) {
	for range 5 {
		k := openKit(t)
		r, err := k.Open(change.Options{Name: "reader"})
		if err != nil {
			t.Fatal(err)
		}
		for vb := range k.vbs {
			if err := r.Add(vbucket.ID(vb), vbucket.Position{}); err != nil {
				t.Fatal(err)
			}
		}
		var clients, begun sync.WaitGroup
		clients.Go(func() {
			var b change.Batch
			for err := error(nil); !errors.Is(err, ErrClosed); {
				err = r.Next(t.Context(), &b)
			}
		})
		for i := range 3 {
			begun.Add(1)
			clients.Go(func() {
				var keys []Key
				for n := range 32 {
					name := fmt.Appendf(nil, "%d/%d", i, n)
					keys = append(keys, k.Key(vbucket.ID(n%4), 0, name))
				}
				w := &Write{Value: make([]byte, 3000)}
				for n := 0; ; n++ {
					if n == 100 {
						begun.Done()
					}
					k.Prefetch(keys)
					if _, err := k.Set(t.Context(), k.now(), keys[n%32], w); err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Errorf("set: %v", err)
						}
						k.Prefetch(keys)
						return
					}
				}
			})
		}
		begun.Wait()
		k.wantErr(k.Close(), nil)
		clients.Wait()
	}
	runtime.GC()
}
