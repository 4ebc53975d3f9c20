package fault

import (
	"context"
	"time"
)

// Operation is one request of a client on a key-value port, as an Interceptor sees it.
type Operation struct {
	Op         string // as the protocol calls it: get, set, add, …; a quiet variant has the name of the other one
	Bucket     string // empty before one is selected
	Scope      string
	Collection string // name; empty for operations that are not on a document, and for collections that do not exist
	Key        string // of the document; empty for operations that are not on one
	Document   bool   // the operation is on a document

	Connection uint64 // never given twice by one server
	Agent      string // how the client introduced itself
	User       string // empty before the login
	Begun      time.Time

	// What came of it. Set only for After.
	Status   uint16        // number of the binary protocol; 0 = success. A reply that was not sent has the one it would have had
	Duration time.Duration // from Before, delays included, to the reply being ready
	Injected Injection
}

// Injection is what is to happen to an operation. The zero value is nothing: it runs as always.
type Injection struct {
	Delay  time.Duration // it waits so long first
	Status uint16        // if not 0 the operation is not run and answered with this number of the binary protocol
	Drop   bool          // the reply is not sent: the client waits in vain
	Close  bool          // the connection is closed instead of the reply. Without Drop and Status the operation is not run
}

// Runs reports whether the operation itself is to be carried out.
func (i Injection) Runs() bool { return i.Status == 0 && (!i.Close || i.Drop) }

// Interceptor is told of every operation on the key-value ports of a node and may change how it ends. Product code has none:
// only tests and test servers are given one. Both functions are called from the goroutine of the connection, so that those
// of one connection come in order and those of several at the same time; each may be nil.
type Interceptor struct {
	Before func(*Operation) Injection // must not block: to wait is what Injection.Delay is for
	After  func(*Operation)           // may keep the operation
	// Waits reports whether Before may ask for a delay now, so that replies which are ready do not wait along. nil: it may.
	Waits func() bool
}

// MayWait reports whether an operation can be made to wait now.
func (i *Interceptor) MayWait() bool { return i != nil && (i.Waits == nil || i.Waits()) }

// Begin calls Before and waits as long as it says, or until ctx ends. A nil Interceptor does nothing.
func (i *Interceptor) Begin(ctx context.Context, o *Operation) {
	o.Begun = time.Now()
	if i == nil || i.Before == nil {
		return
	}
	o.Injected = i.Before(o)
	if o.Injected.Delay > 0 {
		pause := Action{Delay: o.Injected.Delay}
		_ = pause.wait(ctx) // its only error is the end of ctx, which the caller sees
	}
}

// End calls After with how the operation ended.
func (i *Interceptor) End(o *Operation, status uint16) {
	if i == nil || i.After == nil {
		return
	}
	o.Status, o.Duration = status, time.Since(o.Begun)
	i.After(o)
}
