//go:build !noprobes

package trace

// Enabled is false in builds with the tag noprobes.
const Enabled = true
