package cli

import (
	"context"
	"net"
	"strconv"

	"github.com/alecthomas/kong"
	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/node"
)

// serveCmd runs a node.
type serveCmd struct {
	ConfigFile string `name:"config" placeholder:"FILE" type:"path" help:"Settings file (YAML); also CHARPOY_CONFIG."`
	kong.Plugins
}

// Help is the long help.
func (*serveCmd) Help() string {
	return "An empty directory becomes a working one-node cluster with the bucket `default`. The password of Administrator " +
		"comes from CHARPOY_PASSWORD or CHARPOY_PASSWORD_FILE; without one it is made up and printed once. Flags win over " +
		"variables, these over the file.\n\nExample: charpoy serve --data /var/lib/charpoy"
}

// Run serves until a signal comes.
func (c *serveCmd) Run(a *app) error {
	s, _, err := a.settings(c.ConfigFile, givenSettings(c.Plugins), nil)
	if err != nil {
		return err
	}
	return a.host(s, func(_ context.Context, n *node.Node) error { return a.announce(n, s) })
}

// announce says that a node of serve or dev is ready: to a person on the standard error, to programs in a file.
func (a *app) announce(n *node.Node, s *config.Settings) error {
	password, made := n.Password()
	remark := ""
	switch {
	case made:
		remark = "   (made up; it is shown this once)"
	case !n.Fresh() && a.env("CHARPOY_PASSWORD")+a.env("CHARPOY_PASSWORD_FILE") != "":
		a.note("CHARPOY_PASSWORD is ignored: the cluster exists and keeps the password that it has")
		password = ""
	default:
		password = "" // somebody chose it and knows it
	}
	a.banner(n, s, password, remark)
	if s.ReadyJSON == "" {
		return nil
	}
	line, err := lineOf(n, password)
	if err != nil {
		return err
	}
	return writeReady(s.ReadyJSON, line)
}

// devPassword is that of dev, and of test-server unless CHARPOY_PASSWORD says otherwise.
const devPassword = "password"

// devCmd runs a node for development.
type devCmd struct {
	Data      string `default:"./charpoy-data" placeholder:"DIR" type:"path" help:"Directory that is kept between starts (${default})."`
	ReadyJSON string `name:"ready-json" placeholder:"FILE" type:"path" help:"File that gets the line of ports when the node is ready."`
}

// Help is the long help.
func (*devCmd) Help() string {
	return "The same as `serve` with --data ./charpoy-data, on loopback and the default ports, with the password `password`. " +
		"Never for data that matters.\n\nExample: charpoy dev"
}

// Run serves until a signal comes.
func (c *devCmd) Run(a *app) error {
	s, _, err := a.settings("", nil, map[string]string{"data": c.Data, "bind": "127.0.0.1", "ready-json": c.ReadyJSON})
	if err != nil {
		return err
	}
	s.Password = devPassword
	return a.host(s, func(_ context.Context, n *node.Node) error {
		remark := ""
		if !n.Fresh() {
			remark = "   (unless it was changed since)"
		}
		a.banner(n, s, devPassword, remark)
		if s.ReadyJSON == "" {
			return nil
		}
		line, err := lineOf(n, devPassword)
		if err != nil {
			return err
		}
		return writeReady(s.ReadyJSON, line)
	})
}

// joinPort makes an address of a host and a port.
func joinPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// freePorts are the settings that bind any free ports.
func freePorts() map[string]string {
	return map[string]string{
		"kv-port": "0", "kv-tls-port": "0", "http-port": "0", "http-tls-port": "0", "views-port": "0", "memcached-port": "0",
	}
}

// takenPort gives one of the settings' ports that another program has; 0 if all can be bound.
func takenPort(ctx context.Context, s *config.Settings) int {
	var listen net.ListenConfig
	for _, port := range []int{s.KVPort, s.KVTLSPort, s.HTTPPort, s.HTTPTLSPort, s.ViewsPort} {
		if port <= 0 {
			continue
		}
		l, err := listen.Listen(ctx, "tcp", joinPort(s.Bind, port))
		if err != nil {
			return port
		}
		_ = l.Close() // it was only a question
	}
	return 0
}
