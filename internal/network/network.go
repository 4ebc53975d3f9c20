// Package network is the network as the rest of the product sees it: two functions, one to dial and one to listen. TCP gives
// the real one; NewMemory gives one inside the process, for tests that must not depend on ports or on a real clock.
//
// Both are held to the same conformance test, package networktest. Deadlines work on both; that matters, because a
// connection's reader is woken by setting its deadline.
package network

import (
	"context"
	"net"
	"time"
)

// Net is a network. The zero value is not usable.
type Net struct {
	// Dial connects to an address of the form host:port.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Listen opens a listener; port 0 asks for any free one, which the listener's Addr tells.
	Listen func(ctx context.Context, addr string) (net.Listener, error)
}

// keepAlive is how long a silent connection stays unprobed.
const keepAlive = 60 * time.Second

// TCP is the operating system's network. Nagle's algorithm is off (the default of package net) and silent connections are
// probed.
func TCP() Net {
	config := net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive / 4, Count: 4}
	dialer := net.Dialer{KeepAliveConfig: config}
	listener := net.ListenConfig{KeepAliveConfig: config}
	return Net{
		Dial: func(ctx context.Context, addr string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) },
		Listen: func(ctx context.Context, addr string) (net.Listener, error) {
			return listener.Listen(ctx, "tcp", addr)
		},
	}
}
