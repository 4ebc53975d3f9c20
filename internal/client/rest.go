package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/network"
)

// RESTOptions say where a REST goes and as whom. URL is required.
type RESTOptions struct {
	URL      string // scheme, host and port of a management port, such as http://127.0.0.1:8091
	User     string // empty: no credentials are sent
	Password string
	TLS      *tls.Config   // for https; nil: the system's roots
	Net      network.Net   // the zero value is TCP
	Timeout  time.Duration // of a call whose context has no deadline; 0 = 10 s
}

// REST speaks the management API of one node (wire.md 20). It may be used by any number of goroutines. Failures that the
// server explains are a *RESTError.
type REST struct {
	options RESTOptions
	base    *url.URL
	http    *http.Client
}

// RESTError is an answer of the management API that is not a success.
type RESTError struct {
	Method, Path string
	Status       int
	Text         string            // what the server said, as one line for people
	Fields       map[string]string // of the form: what is wrong with each; nil if the server named none
}

// Error names the request and what the server said about it.
func (e *RESTError) Error() string {
	text := e.Text
	if text == "" {
		text = http.StatusText(e.Status)
	}
	return fmt.Sprintf("%s %s: %d: %s", e.Method, e.Path, e.Status, text)
}

// Is compares with the sentinels of this package: ErrAuth, ErrAccess, ErrNotFound (whatever the path names), ErrExists,
// ErrInvalid, ErrTooBig, ErrTemporary, ErrUnsupported, ErrInternal.
func (e *RESTError) Is(target error) bool {
	var own error
	switch {
	case e.Status == http.StatusUnauthorized:
		own = ErrAuth
	case e.Status == http.StatusForbidden:
		own = ErrAccess
	case e.Status == http.StatusNotFound:
		own = ErrNotFound
	case e.Status == http.StatusConflict, strings.Contains(e.Text, "already exists"), strings.Contains(e.Text, "still exists"):
		own = ErrExists
	case e.Status == http.StatusBadRequest:
		own = ErrInvalid
	case e.Status == http.StatusRequestEntityTooLarge:
		own = ErrTooBig
	case e.Status == http.StatusServiceUnavailable, e.Status == http.StatusTooManyRequests, e.Status == http.StatusGatewayTimeout:
		own = ErrTemporary
	case e.Status == http.StatusMethodNotAllowed, e.Status == http.StatusNotImplemented:
		own = ErrUnsupported
	case e.Status >= http.StatusInternalServerError:
		own = ErrInternal
	}
	return own != nil && target == own
}

// NewREST makes a REST; nothing is sent yet. The error says what is wrong with the URL.
func NewREST(o RESTOptions) (*REST, error) {
	if o.Net.Dial == nil {
		o.Net = network.TCP()
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("address of the management port: %w", err)
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("address of the management port %q: want http://host:port or https://host:port", o.URL)
	}
	transport := &http.Transport{
		DialContext:         func(ctx context.Context, _, addr string) (net.Conn, error) { return o.Net.Dial(ctx, addr) },
		TLSClientConfig:     o.TLS,
		TLSHandshakeTimeout: o.Timeout,
		IdleConnTimeout:     time.Minute,
		MaxIdleConnsPerHost: 8,
	}
	return &REST{options: o, base: base, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close ends idle connections. Calls that are under way go on.
func (r *REST) Close() error {
	r.http.CloseIdleConnections()
	return nil
}

// Get reads a path; out, if not nil, receives the JSON of the answer, or its bytes if it is a *[]byte. Segments of the path
// must be escaped; a query may follow it.
func (r *REST) Get(ctx context.Context, path string, out any) error {
	return r.call(ctx, http.MethodGet, path, nil, out)
}

// Post sends a form. See Get for path and out.
func (r *REST) Post(ctx context.Context, path string, form url.Values, out any) error {
	return r.call(ctx, http.MethodPost, path, form, out)
}

// Put sends a form. See Get for path and out.
func (r *REST) Put(ctx context.Context, path string, form url.Values, out any) error {
	return r.call(ctx, http.MethodPut, path, form, out)
}

// Delete removes what a path names. See Get for path.
func (r *REST) Delete(ctx context.Context, path string) error {
	return r.call(ctx, http.MethodDelete, path, nil, nil)
}

func (r *REST) call(ctx context.Context, method, path string, form url.Values, out any) error {
	if _, bounded := ctx.Deadline(); !bounded {
		limited, cancel := context.WithTimeout(ctx, r.options.Timeout)
		defer cancel()
		ctx = limited
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	target := strings.TrimSuffix(r.base.String(), "/") + path
	q, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if form != nil {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if r.options.User != "" {
		q.SetBasicAuth(r.options.User, r.options.Password)
	}
	reply, err := r.http.Do(q)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, cause(err))
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(io.LimitReader(reply.Body, maxRESTBody+1))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if len(text) > maxRESTBody {
		return fmt.Errorf("%s %s: %w: the answer exceeds 64 MiB", method, path, ErrProtocol)
	}
	if reply.StatusCode/100 != 2 {
		return restError(method, path, reply.StatusCode, text)
	}
	return decode(method, path, text, out)
}

// cause takes off what the HTTP client wraps around an error: method and address, which the caller knows.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func decode(method, path string, text []byte, out any) error {
	switch to := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*to = text
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s %s: %w: %w", method, path, ErrProtocol, err)
	}
	return nil
}

// restError reads what the server says about a failure, in any of its forms: {"errors":{field:text}}, {"_":text},
// {"message":text,"permissions":[…]}, ["text",…], "text", or plain text.
func restError(method, path string, status int, body []byte) *RESTError {
	e := &RESTError{Method: method, Path: path, Status: status}
	var object map[string]json.RawMessage
	var list []string
	var text string
	switch {
	case json.Unmarshal(body, &object) == nil:
		e.fromObject(object)
	case json.Unmarshal(body, &list) == nil:
		e.Text = strings.Join(list, "; ")
	case json.Unmarshal(body, &text) == nil:
		e.Text = text
	default:
		e.Text = string(bytes.ToValidUTF8(body, []byte("\ufffd")))
	}
	e.Text = strings.Join(strings.Fields(e.Text), " ")
	return e
}

func (e *RESTError) fromObject(object map[string]json.RawMessage) {
	fields := map[string]string{}
	if raw, ok := object["errors"]; ok && json.Unmarshal(raw, &fields) == nil {
		e.Fields = fields
		e.Text = joined(fields)
		return
	}
	var text string
	for _, name := range []string{"_", "message", "error"} {
		if json.Unmarshal(object[name], &text) == nil {
			e.Text = text
			break
		}
	}
	var permissions []string
	if json.Unmarshal(object["permissions"], &permissions) == nil && len(permissions) > 0 {
		e.Text += ": " + strings.Join(permissions, ", ")
	}
}
