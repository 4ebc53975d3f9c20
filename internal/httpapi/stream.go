package httpapi

import (
	"bytes"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/sdkconfig"
)

// streams counts endless replies.
type streams struct{ n atomic.Int64 }

// config gives the configuration of a bucket and its UUID; nil if there is no such bucket.
func (s *Server) config(bucket string) (config []byte, uuid string) {
	st := s.Cluster.State()
	if st == nil {
		return nil, ""
	}
	b := st.Assignment.Bucket(bucket)
	if b == nil {
		return nil, ""
	}
	return sdkconfig.AppendBucket(nil, st.Assignment, b), b.Spec.UUID
}

func (s *Server) bucketConfig(c *call) error {
	config, uuid := s.config(c.bucket())
	if config == nil || !uuidFits(c, uuid) {
		return notFound()
	}
	writeConfig(c.w, config)
	return nil
}

// streamConfig sends the configuration of a bucket, again at each change, and again every ten seconds, so that clients see
// that we are there. Each is followed by four newlines. The stream ends when the bucket is gone, when the caller loses his
// right to it, or when the server stops.
func (s *Server) streamConfig(c *call) error {
	config, uuid := s.config(c.bucket())
	if config == nil || !uuidFits(c, uuid) {
		return notFound()
	}
	if s.streams.n.Add(1) > maxStreams {
		s.streams.n.Add(-1)
		return busy()
	}
	defer s.streams.n.Add(-1)
	stopping, _ := c.r.Context().Value(stoppingKey{}).(chan struct{})
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.w.Header().Set("Cache-Control", "no-cache")
	out := http.NewResponseController(c.w)
	defer out.SetWriteDeadline(time.Time{}) //nolint:errcheck // see sendConfig
	tick := time.NewTicker(s.streamEvery)
	defer tick.Stop()
	var sent []byte
	for {
		changed := s.Cluster.Changed()
		next, now := s.config(c.bucket())
		access := s.Auth.Access(c.id, c.bucket())
		if now != uuid || !access.MaySelect() {
			return nil
		}
		if !bytes.Equal(next, sent) {
			if !sendConfig(c.w, out, next) {
				return nil
			}
			sent = next
			tick.Reset(s.streamEvery)
		}
		select {
		case <-changed:
		case <-tick.C:
			sent = nil
		case <-stopping:
			return nil
		case <-c.r.Context().Done():
			return nil
		}
	}
}

// sendConfig writes one configuration within a bound, so that a client that does not read cannot keep us.
func sendConfig(w http.ResponseWriter, out *http.ResponseController, config []byte) bool {
	_ = out.SetWriteDeadline(time.Now().Add(sendTime)) // not every writer can; then the connection's own bounds hold
	if _, err := w.Write(append(slices.Clip(config), "\n\n\n\n"...)); err != nil {
		return false
	}
	return out.Flush() == nil
}
