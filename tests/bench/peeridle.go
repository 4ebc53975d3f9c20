package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/charpoy/charpoy/internal/loadgen"
)

// measureIdle opens many connections that log in and then do nothing, and prints what each costs in resident memory of the
// server.
func measureIdle(ctx context.Context, o *peerOptions) (err error) {
	p, err := startCharpoy(ctx, charpoyOptions{name: slotCharpoy, binary: o.binary})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	time.Sleep(2 * time.Second) // what starting left behind is given back
	before, err := residentMiB(p.pid())
	if err != nil {
		return err
	}
	conns := make([]net.Conn, 0, o.idle)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range o.idle {
		c, err := loadgen.Dial(ctx, p.aim(loadgen.Options{}))
		if err != nil {
			return fmt.Errorf("connection %d (is the limit of open files high enough?): %w", len(conns)+1, err)
		}
		conns = append(conns, c)
	}
	time.Sleep(5 * time.Second)
	after, err := residentMiB(p.pid())
	if err != nil {
		return err
	}
	each := (after - before) * 1024 / float64(o.idle)
	return show("idle", atMost(figure{
		Name: fmt.Sprintf("idle connection, logged in, of %d", o.idle), Value: each, Unit: "KiB",
		Note: fmt.Sprintf("resident %.0f MiB before, %.0f MiB with them", before, after),
	}, 12), o.jsonFile != "")
}
