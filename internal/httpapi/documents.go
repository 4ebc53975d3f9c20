package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// What an operation on a document can fail with. Documents translates the statuses of the KV protocol into them.
var (
	ErrNoDocument      = errors.New("the document does not exist")
	ErrDocumentExists  = errors.New("the document exists")
	ErrDocumentChanged = errors.New("the document has another CAS")
	ErrDocumentLocked  = errors.New("the document is locked")
	ErrDocumentTooBig  = errors.New("the document is too large")
	ErrBadDocument     = errors.New("the key or the value is not valid")
	ErrNoMemory        = errors.New("the bucket has no memory left")
	ErrTemporary       = errors.New("temporary failure")
	ErrOutcomeUnknown  = errors.New("it is not known whether the operation was carried out")
	ErrNotDurable      = errors.New("the bucket cannot give the durability that it demands")
)

// Document is one document of the default collection.
type Document struct {
	Value  []byte
	JSON   bool // Value is valid JSON
	Flags  uint32
	Expiry uint32 // as the KV protocol has it; used by Put only
	CAS    uint64 // Put: 0 = no check
	Add    bool   // Put: only if there is no document of this key
}

// Documents reaches documents as somebody else: user is a name as auth.Identity.String gives it, and his rights hold. The
// errors are those of this package, cluster.ErrNoBucket and auth.ErrNotAllowed.
type Documents interface {
	Get(ctx context.Context, user, bucket string, key []byte) (Document, error)
	Put(ctx context.Context, user, bucket string, key []byte, d Document) (cas uint64, err error)
	Delete(ctx context.Context, user, bucket string, key []byte, cas uint64) (newCAS uint64, err error)
	// Close ends what is open; the Server calls it at its end.
	Close() error
}

func (s *Server) documents() (Documents, error) {
	if s.Documents == nil {
		return nil, ErrTemporary
	}
	return s.Documents, nil
}

func etag(cas uint64) string { return `"` + strconv.FormatUint(cas, 10) + `"` }

// ifMatch reads the CAS that a request demands; 0 if it demands none.
func ifMatch(r *http.Request) (uint64, error) {
	h := strings.TrimSpace(r.Header.Get("If-Match"))
	if h == "" {
		return 0, nil
	}
	text, begun := strings.CutPrefix(h, `"`)
	text, ended := strings.CutSuffix(text, `"`)
	cas, err := strconv.ParseUint(text, 10, 64)
	if !begun || !ended || err != nil || cas == 0 {
		return 0, invalid("If-Match", "The value must be an ETag that was given for this document.")
	}
	return cas, nil
}

func (s *Server) getDocument(c *call) error {
	docs, err := s.documents()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), docTime)
	defer cancel()
	d, err := docs.Get(ctx, c.id.String(), c.bucket(), []byte(c.r.PathValue("key")))
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("ETag", etag(d.CAS))
	h.Set("Content-Type", "application/octet-stream")
	if d.JSON {
		h.Set("Content-Type", "application/json")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Charpoy-Flags", strconv.FormatUint(uint64(d.Flags), 10))
	if c.r.Header.Get("If-None-Match") == etag(d.CAS) {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Length", strconv.Itoa(len(d.Value)))
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(d.Value) // a client that is gone cannot be told
	return nil
}

func (s *Server) putDocument(c *call) error {
	docs, err := s.documents()
	if err != nil {
		return err
	}
	d := Document{}
	if d.CAS, err = ifMatch(c.r); err != nil {
		return err
	}
	switch c.r.Header.Get("If-None-Match") {
	case "":
	case "*":
		if d.CAS != 0 {
			return invalid("If-None-Match", "The value cannot be used together with If-Match.")
		}
		d.Add = true
	default:
		return invalid("If-None-Match", "The only value that a PUT may have is *.")
	}
	for _, q := range []struct {
		name string
		to   *uint32
	}{{"expiry", &d.Expiry}, {"flags", &d.Flags}} {
		text := c.r.URL.Query().Get(q.name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return invalid(q.name, "The value must be an integer between 0 and 4294967295.")
		}
		*q.to = uint32(n)
	}
	if d.Value, err = io.ReadAll(c.r.Body); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), docTime)
	defer cancel()
	cas, err := docs.Put(ctx, c.id.String(), c.bucket(), []byte(c.r.PathValue("key")), d)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", etag(cas))
	writeEmpty(c.w, http.StatusOK)
	return nil
}

func (s *Server) deleteDocument(c *call) error {
	docs, err := s.documents()
	if err != nil {
		return err
	}
	cas, err := ifMatch(c.r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), docTime)
	defer cancel()
	cas, err = docs.Delete(ctx, c.id.String(), c.bucket(), []byte(c.r.PathValue("key")), cas)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", etag(cas))
	writeEmpty(c.w, http.StatusOK)
	return nil
}
