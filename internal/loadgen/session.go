package loadgen

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/mcbp"
)

// dialLimit bounds how long a connection takes to be ready for load.
const dialLimit = 10 * time.Second

// maxReply bounds the replies to a login.
const maxReply = 64 << 10

// Dial opens one connection and makes it ready for load: TLS, login, bucket. The caller closes it. Errors are those of the
// network, ErrRefused, ErrProtocol and ErrOptions.
func Dial(ctx context.Context, o Options) (net.Conn, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	ready, err := settle(ctx, c, o)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to %s: %w", o.Addr, err)
	}
	return ready, nil
}

// settle does what comes before the load. The password goes in the clear only where nobody can overhear it.
func settle(ctx context.Context, c net.Conn, o Options) (net.Conn, error) {
	if o.TLS != nil {
		config := o.TLS.Clone()
		if config.ServerName == "" {
			host, _, err := net.SplitHostPort(o.Addr)
			if err != nil {
				return nil, err
			}
			config.ServerName = host
		}
		secured := tls.Client(c, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c = secured
	}
	if o.User == "" && o.Bucket == "" && o.Password == "" {
		return c, nil
	}
	if o.TLS == nil && !loopback(c.RemoteAddr()) {
		return nil, fmt.Errorf("%w: a password over the network needs TLS", ErrOptions)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	login := loginBinary
	if o.Protocol == RESP {
		login = loginRESP
	}
	if err := login(c, o); err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Time{})
}

// loopback reports whether a peer is on this machine.
func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// loginBinary logs in and selects the bucket. There is no HELLO: values come as they are and keys have no collection.
func loginBinary(c net.Conn, o Options) error {
	var requests []mcbp.Frame
	if o.User != "" {
		requests = append(requests, mcbp.Frame{
			Opcode: mcbp.OpSASLAuth, Key: []byte(mcbp.MechPlain), Value: []byte("\x00" + o.User + "\x00" + o.Password),
		})
	}
	if o.Bucket != "" {
		requests = append(requests, mcbp.Frame{Opcode: mcbp.OpSelectBucket, Key: []byte(o.Bucket)})
	}
	header := make([]byte, mcbp.HeaderLen)
	for i := range requests {
		if _, err := c.Write(mcbp.AppendRequest(nil, &requests[i])); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, header); err != nil {
			return err
		}
		n, err := mcbp.Size(header)
		if err != nil || n > maxReply {
			return fmt.Errorf("%w: header % x", ErrProtocol, header)
		}
		reply := append(header[:mcbp.HeaderLen:mcbp.HeaderLen], make([]byte, n-mcbp.HeaderLen)...)
		if _, err := io.ReadFull(c, reply[mcbp.HeaderLen:]); err != nil {
			return err
		}
		f, _, err := mcbp.Decode(reply)
		if err != nil {
			return errors.Join(ErrProtocol, err)
		}
		if f.Status() != mcbp.StatusSuccess {
			return fmt.Errorf("%w: %s: status %#02x %.200s", ErrRefused, requests[i].Opcode, uint16(f.Status()), f.Value)
		}
	}
	return nil
}

// loginRESP logs in at a redis with users.
func loginRESP(c net.Conn, o Options) error {
	text := fmt.Sprintf("*3\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(o.User), o.User, len(o.Password), o.Password)
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	// The server says nothing behind this line, so nothing is lost in the reader's buffer.
	reply, err := bufio.NewReaderSize(c, maxLine).ReadString('\n')
	if err != nil {
		return err
	}
	if reply = strings.TrimSpace(reply); reply != "+OK" {
		return fmt.Errorf("%w: AUTH: %.200s", ErrRefused, reply)
	}
	return nil
}
