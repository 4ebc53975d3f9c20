package httpapi

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/spec"
)

// fuzzBucket runs a body through the reader of forms and both readers of bucket settings: what they accept is valid.
func fuzzBucket(t *testing.T, kind string, body string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	f, err := readForm(r)
	if err != nil {
		if got := answerTo(err).status; got != http.StatusBadRequest {
			t.Fatalf("%q: status %d, %v", body, got, err)
		}
		return
	}
	if b, err := newBucket(f); err == nil {
		if err := b.WithDefaults().Validate(); err != nil {
			t.Fatalf("%q gives a bucket that is not valid: %v", body, err)
		}
	} else if got := answerTo(err).status; got != http.StatusBadRequest {
		t.Fatalf("%q: status %d, %v", body, got, err)
	}
	f.bad = nil
	old := spec.Bucket{Name: "b", QuotaBytes: 100 << 20}.WithDefaults()
	b := old
	if err := changeBucket(f, &b); err == nil {
		if err := b.Validate(); err != nil || b.Type != old.Type || b.NumVBuckets != old.NumVBuckets {
			t.Fatalf("%q changes a bucket into %+v, %v", body, b, err)
		}
	}
}

// FuzzBucketForm feeds HTML forms.
func FuzzBucketForm(f *testing.F) {
	for _, s := range []string{
		"name=b&ramQuotaMB=100", "&ramQuotaMB=200&flushEnabled=0", "name=%zz", "name=a;b", "a=1&&&=2", strings.Repeat("a=1&", 300),
		"name=b&bucketType=ephemeral&evictionPolicy=noEviction&ramQuota=1&numVBuckets=64&maxTTL=5&durabilityMinLevel=majority",
		"ramQuotaMB=99999999999999999999", "purgeInterval=NaN", "purgeInterval=1e400", "numVBuckets=-1", "flushEnabled=2",
		"compressionMode=active&conflictResolutionType=lww&storageBackend=magma&historyRetentionBytes=1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) { fuzzBucket(t, "application/x-www-form-urlencoded", body) })
}

// FuzzJSONBody feeds JSON, and anything that may be taken for it.
func FuzzJSONBody(f *testing.F) {
	for _, s := range []string{
		`{"name":"b","ramQuotaMB":100}`, `{"name":"b","ramQuotaMB":1e3}`, `{"flushEnabled":true,"replicaIndex":null}`, `{"roles":["a","b"]}`,
		`{"roles":[1]}`, `{"a":{}}`, `{`, `[]`, `null`, `{} {}`, `"x"`, `{"name":"\ud800"}`, strings.Repeat(`{"a":`, 10000),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		fuzzBucket(t, "application/json", body)
		fuzzBucket(t, "", body)
		if values, err := parseJSONForm([]byte(body)); err == nil {
			if _, err := url.ParseQuery(values.Encode()); err != nil {
				t.Fatalf("%q: %v", body, err)
			}
		}
	})
}
