package auth

import (
	"runtime"
	"time"
)

// Bounds of what strangers can make this package do and keep.
const (
	maxPassword = 1024 // bytes; longer ones are refused before they are hashed
	maxMessage  = 4096 // bytes of one SASL message

	maxCached = 1024 // verified logins remembered

	maxThrottled  = 4096                   // pairs of address and user that are remembered as failing
	freeFailures  = 5                      // failures without any wait
	firstWait     = 250 * time.Millisecond // after the next one; doubles each time
	longestWait   = 30 * time.Second
	forgetFailing = 10 * time.Minute // after the last failure
	maxLogLines   = 10               // lines a second about failed logins
)

// maxHashing is how many passwords are hashed at the same time; others wait. Strangers can keep that many processors busy
// with wrong passwords, so most are left to those who have work to do.
func maxHashing() int { return max(1, runtime.GOMAXPROCS(0)/4) }
