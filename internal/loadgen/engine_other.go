//go:build !linux

package loadgen

import "context"

// open connects.
func (g *Generator) open(ctx context.Context) (engine, error) { return openPlain(ctx, g) }
