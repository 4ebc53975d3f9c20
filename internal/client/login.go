package client

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/sdkconfig"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// wanted are the features that we ask for. Without collections, keys are those of the default collection; without duplex,
// the server never speaks first; without Snappy, values come as they are.
func wanted() []mcbp.Feature {
	return []mcbp.Feature{
		mcbp.FeatureNoDelay, mcbp.FeatureMutationToken, mcbp.FeatureXError, mcbp.FeatureSelectBucket, mcbp.FeatureJSON,
		mcbp.FeatureAltRequest, mcbp.FeatureSyncReplication, mcbp.FeaturePreserveExpiry,
	}
}

// bootstrap greets, logs in and selects the bucket.
func (c *Conn) bootstrap(ctx context.Context) error {
	if err := c.hello(ctx); err != nil {
		return err
	}
	if c.options.User == "" {
		return nil
	}
	if err := c.login(ctx); err != nil {
		return err
	}
	if c.options.Bucket == "" {
		return nil
	}
	return c.SelectBucket(ctx, c.options.Bucket)
}

func (c *Conn) hello(ctx context.Context) error {
	reply, err := c.send(ctx, &mcbp.Frame{
		Opcode: mcbp.OpHello, Key: []byte(c.options.Agent), Value: mcbp.AppendFeatures(nil, wanted()...),
	}, 0)
	if err != nil {
		return err
	}
	granted, ok := mcbp.ParseFeatures(reply.Value)
	if !ok {
		return fmt.Errorf("%w: list of features of %d bytes", ErrProtocol, len(reply.Value))
	}
	c.features = granted & mcbp.Features(wanted()...)
	return nil
}

// login proves who we are. The password itself is sent only where nobody can overhear it: over TLS, or inside the machine.
func (c *Conn) login(ctx context.Context) error {
	reply, err := c.send(ctx, &mcbp.Frame{Opcode: mcbp.OpSASLListMechs}, 0)
	if err != nil {
		return err
	}
	offered := strings.Fields(string(reply.Value))
	private := c.options.TLS != nil || loopback(c.raw.RemoteAddr())
	switch {
	case private && slices.Contains(offered, mcbp.MechPlain):
		_, err := c.send(ctx, &mcbp.Frame{
			Opcode: mcbp.OpSASLAuth, Key: []byte(mcbp.MechPlain), Value: []byte("\x00" + c.options.User + "\x00" + c.options.Password),
		}, 0)
		return err
	case slices.Contains(offered, mcbp.MechSCRAMSHA512):
		return c.loginSCRAM(ctx)
	}
	return fmt.Errorf("%w: no common mechanism among %q", ErrAuth, offered)
}

func (c *Conn) loginSCRAM(ctx context.Context) error {
	x := newScram(c.options.User, c.options.Password)
	request := &mcbp.Frame{Opcode: mcbp.OpSASLAuth, Key: []byte(mcbp.MechSCRAMSHA512), Value: x.first()}
	reply, err := c.Do(ctx, request)
	if err != nil {
		return err
	}
	if reply.Status() != mcbp.StatusAuthContinue {
		if err := statusOf(request, &reply); err != nil {
			return err
		}
		return fmt.Errorf("%w: login without a proof", ErrProtocol)
	}
	answer, err := x.final(reply.Value)
	if err != nil {
		return err
	}
	reply, err = c.send(ctx, &mcbp.Frame{Opcode: mcbp.OpSASLStep, Key: []byte(mcbp.MechSCRAMSHA512), Value: answer}, 0)
	if err != nil {
		return err
	}
	return x.verify(reply.Value)
}

// loopback reports whether a peer is on this machine.
func loopback(a net.Addr) bool {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// SelectBucket makes name the bucket of the connection and reads its configuration. Errors: ErrNoBucket (unknown, or no
// access), ErrTemporary (not ready yet). Other goroutines must not use the Conn meanwhile: their calls may reach either
// bucket.
func (c *Conn) SelectBucket(ctx context.Context, name string) error {
	if _, err := c.send(ctx, &mcbp.Frame{Opcode: mcbp.OpSelectBucket, Key: []byte(name)}, 0); err != nil {
		return fmt.Errorf("bucket %s: %w", name, err)
	}
	c.config.Store(nil)
	if name == mcbp.NoBucketName {
		return nil
	}
	if _, err := c.ClusterConfig(ctx); err != nil {
		return fmt.Errorf("bucket %s: %w", name, err)
	}
	return nil
}

// ClusterConfig reads the configuration: that of the bucket, or without one the cluster's. Errors: ErrTemporary while the
// server has none.
func (c *Conn) ClusterConfig(ctx context.Context) (*sdkconfig.Config, error) {
	text, err := c.ClusterConfigText(ctx)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(c.options.Addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", c.options.Addr, err)
	}
	config, err := sdkconfig.Parse(text, host)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if len(config.Map) > 0 {
		c.config.Store(config)
	}
	return config, nil
}

// ClusterConfigText reads the configuration as JSON, as the server sent it. $HOST in it stands for the host dialled.
func (c *Conn) ClusterConfigText(ctx context.Context) ([]byte, error) {
	reply, err := c.send(ctx, &mcbp.Frame{Opcode: mcbp.OpGetClusterConfig}, 0)
	if err != nil {
		return nil, err
	}
	return reply.Value, nil
}

// Config is the bucket's configuration as it was read last; nil if no bucket is selected. It must not be changed.
func (c *Conn) Config() *sdkconfig.Config { return c.config.Load() }

// VBucket gives the vBucket of a key in the selected bucket. Error: ErrNoBucket.
func (c *Conn) VBucket(key string) (vbucket.ID, error) {
	config := c.config.Load()
	if config == nil {
		return 0, ErrNoBucket
	}
	return vbucket.Of([]byte(key), len(config.Map)), nil
}
