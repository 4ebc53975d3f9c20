//go:build !unix

package mcserver

import "time"

// processTimes is not known here.
func processTimes() (user, system time.Duration) { return 0, 0 }
