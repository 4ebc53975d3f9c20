package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/cluster"
	"github.com/charpoy/charpoy/internal/spec"
)

// Every error that the lower floors can give has its answer, wrapped or not; the texts are those that clients match
// (wire.md 20.3).
func TestAnswers(t *testing.T) {
	f := func(err error, status int, text string) {
		t.Helper()
		for _, e := range []error{err, fmt.Errorf("attempted: %w", err)} {
			rec := httptest.NewRecorder()
			writeFailure(rec, answerTo(e))
			if rec.Code != status || !strings.Contains(rec.Body.String(), text) {
				t.Errorf("%v: %d %s, want %d %s", e, rec.Code, rec.Body, status, text)
			}
		}
	}
	f(cluster.ErrNoBucket, http.StatusNotFound, "Requested resource not found.\r\n")
	f(cluster.ErrBucketExists, http.StatusBadRequest, `{"errors":{"name":"Bucket with given name already exists"}}`)
	f(cluster.ErrBucketDropping, http.StatusInternalServerError, `{"errors":{"_":"Bucket with given name still exists"}}`)
	f(cluster.ErrTooManyBuckets, http.StatusBadRequest, "Cannot create more than 30 buckets")
	f(cluster.ErrQuotaExceeded, http.StatusBadRequest, `"ramQuota"`)
	f(cluster.ErrFlushDisabled, http.StatusBadRequest, `{"_":"Flush is disabled for the bucket"}`)
	f(cluster.ErrNoUser, http.StatusNotFound, `"User was not found."`)
	f(cluster.ErrNoGroup, http.StatusNotFound, `"Group was not found."`)
	f(cluster.ErrNotReady, http.StatusServiceUnavailable, "try again")
	f(&cluster.DataError{Bucket: "b", Problem: "the disk is full"}, http.StatusInternalServerError, "the disk is full")
	f(auth.ErrBadCredentials, http.StatusUnauthorized, "")
	f(auth.ErrStale, http.StatusUnauthorized, "")
	f(auth.ErrTooManyFailures, http.StatusTooManyRequests, "Limit(s) exceeded")
	f(auth.ErrNotAllowed, http.StatusForbidden, `{"message":"Forbidden. User needs the following permissions","permissions":[]}`)
	f(auth.ErrBadPassword, http.StatusBadRequest, `{"errors":{"password":`)
	f(&auth.RoleError{Roles: []string{"x"}}, http.StatusBadRequest, `{"errors":{"roles":"Cannot assign roles to user because the `+
		`following roles are unknown, malformed or role parameters are undefined: [x]"}}`)
	f(spec.Invalid{{Field: "name", Text: "first"}, {Field: "name", Text: "second"}}, http.StatusBadRequest,
		`{"errors":{"name":"first"},"summaries":{}}`)
	f(ErrNoDocument, http.StatusNotFound, "does not exist")
	f(ErrDocumentExists, http.StatusConflict, "exists")
	f(ErrDocumentChanged, http.StatusConflict, "If-Match")
	f(ErrDocumentLocked, http.StatusConflict, "locked")
	f(ErrDocumentTooBig, http.StatusRequestEntityTooLarge, "too large")
	f(ErrBadDocument, http.StatusBadRequest, "not valid")
	f(ErrNoMemory, http.StatusServiceUnavailable, "try again")
	f(ErrTemporary, http.StatusServiceUnavailable, "try again")
	f(ErrOutcomeUnknown, http.StatusGatewayTimeout, "not known")
	f(ErrNotDurable, http.StatusBadRequest, "durability")
	f(context.DeadlineExceeded, http.StatusGatewayTimeout, "in time")
	f(context.Canceled, http.StatusServiceUnavailable, "abandoned")
	f(&http.MaxBytesError{Limit: 5}, http.StatusRequestEntityTooLarge, "too large")
	f(errors.New("a secret of ours"), http.StatusInternalServerError, `{"errors":{"_":"Unexpected server error; the log has details."}}`)
}

// Pages from elsewhere cannot use the password that a browser remembers; clients that are no browsers are not affected.
func TestCrossOrigin(t *testing.T) {
	w := newWorld(t, nil, false)
	f := func(method, site string, want int) {
		t.Helper()
		r := httptest.NewRequest(method, "/controller/changePassword", nil)
		if method == http.MethodGet {
			r = httptest.NewRequest(method, "/whoami", nil)
		}
		r.SetBasicAuth("reader", "password")
		if site != "" {
			r.Header.Set("Sec-Fetch-Site", site)
		}
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, r)
		if rec.Code != want {
			t.Errorf("%s from %q: %d, want %d", method, site, rec.Code, want)
		}
	}
	f(http.MethodPost, "cross-site", http.StatusForbidden)
	f(http.MethodPost, "same-origin", http.StatusBadRequest)
	f(http.MethodPost, "", http.StatusBadRequest)
	f(http.MethodGet, "cross-site", http.StatusOK)
}
