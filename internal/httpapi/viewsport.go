package httpapi

import (
	"context"
	"net/http"
)

// ViewsPort holds the place of the views port until views exist: it answers the pings of SDKs, and says in the form of that
// port that nothing else is there.
type ViewsPort struct{ face *face }

// NewViewsPort opens the listeners. Of the options only Net, Addr, TLSAddr, TLSConfig and Logger matter.
func NewViewsPort(ctx context.Context, o Options) (*ViewsPort, error) {
	o.withDefaults()
	f, err := newFace(ctx, "views port", http.HandlerFunc(answerWithoutViews),
		faceOptions{net: o.Net, addr: o.Addr, tlsAddr: o.TLSAddr, tls: o.TLSConfig, logger: o.Logger})
	if err != nil {
		return nil, err
	}
	return &ViewsPort{f}, nil
}

func answerWithoutViews(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		writeJSON(w, http.StatusOK, map[string]string{"couchdb": "Welcome", "version": ServerVersion})
		return
	}
	writeJSON(w, http.StatusNotFound, map[string]string{"error": "not_found", "reason": "missing"})
}

// Port gives the bound port of the plain listener.
func (v *ViewsPort) Port() int { return v.face.port() }

// TLSPort gives the bound port of the TLS listener, 0 if there is none.
func (v *ViewsPort) TLSPort() int { return v.face.tlsPort() }

// Close releases the listeners of a ViewsPort that does not run.
func (v *ViewsPort) Close() error { return v.face.close() }

// Run serves until ctx ends.
func (v *ViewsPort) Run(ctx context.Context) error { return v.face.run(ctx) }
