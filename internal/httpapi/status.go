package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/cluster"
	"github.com/charpoy/charpoy/internal/spec"
)

// notFoundText is matched by clients: it means that a path or a bucket does not exist.
const notFoundText = "Requested resource not found.\r\n"

// failure is an error that knows its answer. body is a text if kind is text/plain, else a value to encode as JSON.
type failure struct {
	status int
	kind   string
	body   any
	header map[string]string
	cause  error // for the log; nil if the answer says it all
}

// Error gives the cause, or the status's name.
func (f *failure) Error() string {
	if f.cause != nil {
		return f.cause.Error()
	}
	return http.StatusText(f.status)
}

// Unwrap gives the cause.
func (f *failure) Unwrap() error { return f.cause }

// errorsBody is the form of validation errors: field to text; _ stands for none in particular.
func errorsBody(fields map[string]string) any { return map[string]any{"errors": fields} }

func general(status int, text string) *failure {
	return &failure{status: status, body: errorsBody(map[string]string{"_": text})}
}

func invalid(field, text string) error { return spec.Invalid{{Field: field, Text: text}} }

func notFound() *failure {
	return &failure{status: http.StatusNotFound, kind: "text/plain", body: notFoundText}
}

func unauthorized() *failure {
	return &failure{status: http.StatusUnauthorized, header: map[string]string{"WWW-Authenticate": `Basic realm="Charpoy"`}}
}

func forbidden(permissions ...string) *failure {
	return &failure{status: http.StatusForbidden, body: map[string]any{
		"message": "Forbidden. User needs the following permissions", "permissions": append([]string{}, permissions...),
	}}
}

// sentinel is one line of the table of errors: what an error of a lower floor is answered with.
type sentinel struct {
	err    error
	answer func() *failure
}

// sentinels is the one table from sentinels to answers. Texts in it are matched by clients (wire.md 20.3).
func sentinels() []sentinel {
	text := func(status int, s string) func() *failure { return func() *failure { return general(status, s) } }
	field := func(name, s string) func() *failure {
		return func() *failure {
			return &failure{status: http.StatusBadRequest, body: errorsBody(map[string]string{name: s})}
		}
	}
	bare := func(status int, body any) func() *failure {
		return func() *failure { return &failure{status: status, body: body} }
	}
	return []sentinel{
		{cluster.ErrNoBucket, notFound},
		{cluster.ErrBucketExists, field("name", "Bucket with given name already exists")},
		{cluster.ErrBucketDropping, text(http.StatusInternalServerError, "Bucket with given name still exists")},
		{cluster.ErrTooManyBuckets, text(http.StatusBadRequest, "Cannot create more than 30 buckets")},
		{cluster.ErrQuotaExceeded, field("ramQuota",
			"RAM quota specified is too large to be provisioned into this cluster.")},
		{cluster.ErrFlushDisabled, bare(http.StatusBadRequest, map[string]string{"_": "Flush is disabled for the bucket"})},
		{cluster.ErrNoUser, bare(http.StatusNotFound, "User was not found.")},
		{cluster.ErrNoGroup, bare(http.StatusNotFound, "Group was not found.")},
		{cluster.ErrNotReady, busy},
		{auth.ErrBadCredentials, unauthorized},
		{auth.ErrStale, unauthorized},
		{auth.ErrTooManyFailures, func() *failure {
			f := general(http.StatusTooManyRequests, "Limit(s) exceeded: too many failed logins; wait before the next attempt")
			f.header = map[string]string{"Retry-After": "1"}
			return f
		}},
		{auth.ErrNotAllowed, func() *failure { return forbidden() }},
		{auth.ErrBadPassword, field("password", "The password must have 1 to 1024 bytes without control characters.")},
		{ErrNoDocument, text(http.StatusNotFound, "The document does not exist.")},
		{ErrDocumentExists, text(http.StatusConflict, "The document exists.")},
		{ErrDocumentChanged, text(http.StatusConflict, "The document has another version than If-Match asks for.")},
		{ErrDocumentLocked, text(http.StatusConflict, "The document is locked.")},
		{ErrDocumentTooBig, text(http.StatusRequestEntityTooLarge, "The document is too large.")},
		{ErrBadDocument, text(http.StatusBadRequest, "The key or the value is not valid.")},
		{ErrNoMemory, busy},
		{ErrTemporary, busy},
		{ErrOutcomeUnknown, text(http.StatusGatewayTimeout, "It is not known whether the operation was carried out.")},
		{ErrNotDurable, text(http.StatusBadRequest, "The bucket cannot give the durability that it demands.")},
		{context.DeadlineExceeded, text(http.StatusGatewayTimeout, "The operation did not end in time; it may still be carried out.")},
		{context.Canceled, text(http.StatusServiceUnavailable, "The request was abandoned.")},
	}
}

func busy() *failure {
	f := general(http.StatusServiceUnavailable, "The server is busy; try again.")
	f.header = map[string]string{"Retry-After": "1"}
	return f
}

// answerTo finds the answer to an error. What is in no table is our own fault: 500, and the error's text stays in the log.
func answerTo(err error) *failure {
	var known *failure
	var bad spec.Invalid
	var roles *auth.RoleError
	var data *cluster.DataError
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &bad):
		fields := make(map[string]string, len(bad))
		for _, f := range bad {
			if _, said := fields[f.Field]; !said {
				fields[f.Field] = f.Text
			}
		}
		return &failure{status: http.StatusBadRequest, body: map[string]any{"errors": fields, "summaries": map[string]any{}}, cause: err}
	case errors.As(err, &roles):
		return &failure{status: http.StatusBadRequest, body: errorsBody(map[string]string{"roles": roles.Error()}), cause: err}
	case errors.As(err, &data):
		f := general(http.StatusInternalServerError, data.Error())
		f.cause = err
		return f
	case errors.As(err, &tooBig):
		f := general(http.StatusRequestEntityTooLarge, "The request is too large.")
		f.header = map[string]string{"Connection": "close"}
		return f
	}
	for _, s := range sentinels() {
		if errors.Is(err, s.err) {
			f := s.answer()
			f.cause = err
			return f
		}
	}
	f := general(http.StatusInternalServerError, "Unexpected server error; the log has details.")
	f.cause = err
	return f
}

// writeFailure answers with a failure.
func writeFailure(w http.ResponseWriter, f *failure) {
	for k, v := range f.header {
		w.Header().Set(k, v)
	}
	switch {
	case f.body == nil:
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(f.status)
	case strings.HasPrefix(f.kind, "text/"):
		w.Header().Set("Content-Type", f.kind)
		w.WriteHeader(f.status)
		text, _ := f.body.(string)
		_, _ = w.Write([]byte(text)) // a client that is gone cannot be told
	default:
		writeJSON(w, f.status, f.body)
	}
}

// writeJSON answers with a value. Encoding our own values does not fail; a client that is gone cannot be told.
func writeJSON(w http.ResponseWriter, status int, body any) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // clients look for texts as they are
	if err := e.Encode(body); err != nil {
		status = http.StatusInternalServerError
		text.Reset()
		text.WriteString(`{"errors":{"_":"The answer cannot be encoded."}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	_, _ = w.Write(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
}

// writeEmpty answers with a status and no body.
func writeEmpty(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
}
