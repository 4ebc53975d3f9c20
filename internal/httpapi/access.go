package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/charpoy/charpoy/internal/auth"
)

// call is one request with who makes it. id is nil on routes that are open.
type call struct {
	w  http.ResponseWriter
	r  *http.Request
	id *auth.Identity
}

// bucket gives the bucket that the path names.
func (c *call) bucket() string { return c.r.PathValue("bucket") }

// authenticate finds out who makes a request. Nobody is an error.
func (s *Server) authenticate(r *http.Request) (*auth.Identity, error) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return nil, unauthorized()
	}
	return s.Auth.CheckPassword(r.Context(), user, password, r.RemoteAddr)
}

// fromLoopback reports whether a request was made on this machine.
func fromLoopback(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// need is what a route demands of its caller.
type need struct {
	open     bool // nothing
	loopback bool // nothing if the caller is on this machine
	any      bool // to be somebody
	use      bool // to be allowed to use the bucket of the path
	all      auth.Privilege
	inBucket bool   // all must be held in the bucket of the path
	name     string // of the permission, as it is told to who lacks it; % stands for the bucket
}

// check tells whether a caller has what a route needs.
func (s *Server) check(n need, c *call) error {
	bucket := ""
	if n.inBucket || n.use {
		bucket = c.bucket()
	}
	a := s.Auth.Access(c.id, bucket)
	switch {
	case n.any:
		if _, err := s.Auth.RolesOf(c.id); err != nil {
			return err
		}
		return nil
	case n.use && a.MaySelect(), n.all != 0 && a.Has(n.all):
		return nil
	}
	return forbidden(permission(n.name, bucket))
}

// permission writes the name of a permission as clients know it; % stands for the bucket.
func permission(name, bucket string) string {
	return "cluster." + strings.ReplaceAll(name, "%", bucket)
}
