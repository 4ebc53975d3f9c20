package httpapi

import "net/http"

// debugPage makes a handler of one of the runtime's own pages: profiles of CPU, memory, locks and goroutines. They show what
// the process is made of and cost it time, so they are for full administrators.
func debugPage(page http.HandlerFunc) func(*call) error {
	return func(c *call) error {
		page(c.w, c.r)
		return nil
	}
}
